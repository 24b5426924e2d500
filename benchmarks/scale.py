"""What it costs to build, extend, open and search an index of many videos.

    python benchmarks/scale.py --videos 1000000 --out benchmarks/results/scale.md

Features are made up (one clip a video), so no video is decoded and no network runs; all else is
what `vidssl index` and `vidssl retrieve` do. Every step is a process of its own, whose seconds and
peak of memory (its own, and with what it maps of files) are measured. Growth from a tenth of the
videos to all of them is told as an exponent: 0 does not grow, 1 grows with the videos.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from vidssl_cli.contract.videos import Video
from vidssl_cli.model.card import Card
from vidssl_cli.model.embedding import Embedded
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search import engines
from vidssl_cli.search.build import build_index
from vidssl_cli.search.retrieve import retrieve
from vidssl_cli.search.store import open_index

DIMENSION = 512
BLOCK = 10_000


@dataclass(frozen=True)
class Cost:
    """Of one step."""

    seconds: float
    cpu: float
    """Seconds of all cores, which other load on the machine disturbs less."""
    own: float
    """Peak of memory that no file is behind, in GB."""
    mapped: float
    """Peak of all memory, with pages of mapped files that the system may drop, in GB."""


def encoder() -> Encoder:
    """Return a small network; it never runs."""
    from vidssl_cli.config.sections import Evaluation, Input
    from vidssl_plugins.backbones.hooks import R3D

    torch.manual_seed(0)
    backbone = R3D(name="r3d", depth=10, width=4)
    evaluation = Evaluation(clips=1, standardise=True)
    card = Card(
        backbone=backbone, input=Input(resize=(24, 32), crop=16), frames=8,
        evaluation=evaluation, seed=0,
    )  # fmt: skip
    return Encoder(card, backbone.build(), torch.device("cpu"))


def videos(first: int, last: int) -> list[Video]:
    """Return made-up videos by number."""
    return [
        Video(
            f"/footage/{number % 97}/{number}.mp4", label=f"class {number % 400}", frames=250,
            fps=25.0, width=320, height=240, duration=10.0, bytes=number, mtime_ns=number,
            ends_sha256=f"{number:064x}",
        )
        for number in range(first, last)
    ]  # fmt: skip


def features(block: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the features of a block of videos: clusters, away from zero."""
    generator = np.random.default_rng(block)
    centres = np.random.default_rng(0).standard_normal((1000, DIMENSION), np.float32)
    members = centres[generator.integers(1000, size=BLOCK)]
    noise = generator.standard_normal((BLOCK, DIMENSION), np.float32)
    return 3 + members + 0.5 * noise


def embedded(_: Encoder, chosen: Sequence[Video], **__: Any) -> Iterator[Embedded]:
    """Stand for the network."""
    block, rows = -1, np.empty((0, DIMENSION), np.float32)
    spans = np.array([[0, 10]], np.float32)
    for video in chosen:
        number = int(video.bytes or 0)
        if number // BLOCK != block:
            block = number // BLOCK
            rows = features(block)
        yield Embedded(video, rows[number % BLOCK : number % BLOCK + 1], spans)


def build(folder: Path, chosen: Sequence[Video], factory: str | None) -> Callable[[], Any]:
    """Return the step of adding videos."""

    def step() -> None:
        with mock.patch("vidssl_cli.search.entries.embed", embedded):
            build_index(encoder(), chosen, folder, factory=factory)

    return step


def ask(folder: Path, count: int, level: Any = "video") -> Callable[[], Any]:
    """Return the step of opening the index and answering queries, as if the files were there."""

    def step() -> None:
        with mock.patch("vidssl_cli.search.retrieve.is_there", return_value=True):
            texts = [f"#{item}" for item in range(count)]
            retrieve(open_index(folder), texts, top=10, level=level, device="cpu")

    return step


def measured(step: Callable[[], Any]) -> Cost:
    """Run a step in a process of its own."""
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe()
    process = forks.Process(target=_run, args=(step, theirs))
    process.start()
    theirs.close()
    cost: Cost = ours.recv()
    process.join()
    return cost


def _run(step: Callable[[], Any], pipe: Any) -> None:
    before, peak, ended = _memory(), [0.0, 0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peak[:] = [max(a, b) for a, b in zip(peak, _memory(), strict=True)]

    watcher = threading.Thread(target=watch)
    watcher.start()
    began, cpu = time.perf_counter(), time.process_time()
    step()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    ended.set()
    watcher.join()
    own, mapped = (max(0.0, p - b) for p, b in zip(peak, before, strict=True))
    pipe.send(Cost(seconds, cpu, own, mapped))


def _memory() -> tuple[float, float]:
    """Return resident memory of this process in GB: without and with files."""
    rows = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, files = (int(rows[key].split()[0]) / 1e6 for key in ("RssAnon", "RssFile"))
    return own, own + files


def steps(size: int, place: Path, factory: str | None) -> dict[str, Cost]:
    """Measure every step on an index of so many videos."""
    shutil.rmtree(place, ignore_errors=True)
    whole, more = videos(0, size), videos(size, size + max(1, size // 100))
    return {
        "build from features": measured(build(place, whole, factory)),
        "open and answer one query": measured(ask(place, 1)),
        "the same by clips": measured(ask(place, 1, "clip")),
        "answer 100 queries by item": measured(ask(place, 100)),
        "nothing new": measured(build(place, whole, None)),
        "add 1 %": measured(build(place, [*whole, *more], None)),
        "open and answer one query after that": measured(ask(place, 1)),
    }


def table(sizes: Sequence[int], costs: Sequence[dict[str, Cost]]) -> str:
    """Return the costs at each size, with their growth."""
    head = " | ".join(f"{size:,}" for size in sizes)
    lines = [
        f"| step | {head} | exponent of CPU time | of memory |",
        "| --- |" + " --- |" * (len(sizes) + 2),
    ]
    growth = math.log(sizes[-1] / sizes[0]) if len(sizes) > 1 else math.nan
    for name in costs[0]:
        first, last = costs[0][name], costs[-1][name]
        cells = [
            f"{cost[name].seconds:.2f} s ({cost[name].cpu:.2f}), "
            f"{cost[name].own:.2f} GB ({cost[name].mapped:.2f})"
            for cost in costs
        ]
        exponents = [
            f"{math.log(b / a) / growth:.2f}" if a > 0.01 else "–"
            for a, b in ((first.cpu, last.cpu), (first.own, last.own))
        ]
        lines.append(f"| {name} | {' | '.join([*cells, *exponents])} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--factory", help="FAISS factory; by default the index is exact")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--place", type=Path, help="folder for the index")
    parser.add_argument("--out", type=Path, help="append the table to this file")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[: chosen.cores])
    torch.set_num_threads(chosen.cores)
    place = Path(tempfile.mkdtemp(dir=chosen.place)) / "index"
    sizes = [chosen.videos // 10, chosen.videos]
    costs = [steps(size, place, chosen.factory) for size in sizes]
    shutil.rmtree(place.parent)
    faiss = engines.load_faiss()
    text = (
        f"\n## {chosen.factory or 'exact'}, {DIMENSION} dimensions, {chosen.cores} core(s)\n\n"
        f"{platform.processor() or platform.machine()}, numpy {np.__version__}, "
        f"FAISS {faiss and faiss.__version__}. Seconds (of CPU); memory of its own, and "
        f"(with pages of mapped files).\n\n"
        f"{table(sizes, costs)}\n"
    )
    print(text)
    if chosen.out:
        with chosen.out.open("a", encoding="utf-8") as file:
            file.write(text)
    print(json.dumps({name: cost.seconds for name, cost in costs[-1].items()}))


if __name__ == "__main__":
    main()
