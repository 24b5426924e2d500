"""Shards and Ray against one process: the same bytes, and how long each takes.

    python benchmarks/many_machines.py RUN DATA

makes an index of DATA by one process; by two shards at once, of which one is killed and begun
again, and a merge; and by Ray (if it is installed) on two nodes of one core on this machine, of
which one is killed in the middle. The bytes of the features and the answers must be the same. Then
it merges shards of made-up vectors of 512 dimensions.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.shards import Shard, Share
from vidssl_cli.model.embedding import Embedded
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search.generations import segments_in
from vidssl_cli.search.merge import merge_shards
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.shards import build_shard
from vidssl_cli.search.store import open_index

NODES = """
import sys
from ray.cluster_utils import Cluster
sizes = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args=sizes | {"include_dashboard": False})
second = cluster.add_node(**sizes)
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.remove_node(second, allow_graceful=False)
sys.stdin.readline()
cluster.shutdown()
"""
MADE_UP = 200_000
"""Videos of one clip."""


def main() -> None:
    """Measure all, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = ["index", given.run, "--data", given.data, "--device", "cpu", "--out"]
        began = time.monotonic()
        _start(*command, folder / "one").wait()
        print(f"one process: {time.monotonic() - began:.1f} s")
        _shards(command, folder / "shards")
        _compare(folder / "shards", folder / "one")
        if find_spec("ray"):
            _ray(command, folder / "ray")
            _compare(folder / "ray", folder / "one")
        _made_up(Encoder.load(given.run, "cpu"), folder / "made-up")


def _start(*words: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "vidssl_cli", *map(str, words)],
        env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip


def _shards(command: list[object], out: Path) -> None:
    began = time.monotonic()
    jobs = [_start(*command, out, "--shard", f"{number}/2") for number in (1, 2)]
    journal = out / "shard-2-of-2" / ".embedded"
    _until(lambda: journal.exists() and journal.stat().st_size > 100_000)
    jobs[1].kill()
    jobs[1].wait()
    jobs[1] = _start(*command, out, "--shard", "2/2")
    statuses = [job.wait() for job in jobs]
    took = time.monotonic() - began
    began = time.monotonic()
    merged = _start("merge", out).wait()
    print(
        f"two shards, one killed: {took:.1f} s, then merged in {time.monotonic() - began:.1f} s; "
        f"exit statuses {[*statuses, merged]}"
    )


def _ray(command: list[object], out: Path) -> None:
    nodes = subprocess.Popen(
        [sys.executable, "-c", NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert nodes.stdin
    assert nodes.stdout
    address = nodes.stdout.readline().strip()
    began = time.monotonic()
    job = _start(*command, out, "--engine", "ray", RAY_ADDRESS=address)
    journal = out / ".embedded"
    _until(lambda: journal.exists() and journal.stat().st_size > 100_000)
    at = time.monotonic() - began
    nodes.stdin.write("kill\n")
    nodes.stdin.flush()
    status = job.wait()
    print(
        f"Ray, two nodes, one killed after {at:.1f} s: {time.monotonic() - began:.1f} s; exit "
        f"status {status}"
    )
    nodes.stdin.close()
    nodes.wait()


def _compare(out: Path, one: Path) -> None:
    """Say whether two indexes have the same features and give the same answers."""
    indexes = [open_index(folder) for folder in (out, one)]
    features = [np.asarray(index.gallery.features["clip"]).tobytes() for index in indexes]
    rows = [list(index.gallery.videos) for index in indexes]
    queries = [f"#{item}" for item in indexes[1].gallery.items[:50].tolist()]
    answers = [
        [
            [(hit.item, hit.path, hit.score, hit.start) for hit in answer.hits]
            for answer in retrieve(index, queries, top=50, device="cpu")[0]
        ]
        for index in indexes
    ]
    same = [pair[0] == pair[1] for pair in (features, rows, answers)]
    print(f"  features, rows and answers are the same: {same}")


def _made_up(encoder: Encoder, out: Path) -> None:
    videos = [Video(f"/{n}.mp4", frames=50, fps=25.0, duration=2.0) for n in range(MADE_UP)]

    def embed(encoder: Encoder, videos: list[Video], **how: object) -> Iterator[Embedded]:
        for video in videos:
            draws = np.random.default_rng(int(Path(video.path).stem))
            features = draws.standard_normal((1, 512), np.float32)
            yield Embedded(video, features, np.float32([[0, 1]]))

    for count in (8, 64):
        place = out / str(count)
        for number in range(1, count + 1):
            share = Share(Shard(number, count), (), lambda found: found)
            build_shard(encoder, share.take(videos), place, share, embedder=embed)
        began = time.monotonic()
        merge_shards(place)
        took = time.monotonic() - began
        segments = len(segments_in(place))
        began = time.monotonic()
        retrieve(open_index(place), ["#5"], device="cpu")
        opened = time.monotonic() - began
        print(
            f"{count} shards of {MADE_UP} made-up videos: merged in {took:.1f} s to {segments} "
            f"segments; opened and one query answered in {opened:.1f} s"
        )


def _until(true: Callable[[], bool]) -> None:
    while not true():
        time.sleep(0.02)


if __name__ == "__main__":
    main()
