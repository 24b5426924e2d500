"""`--engine ray` on a real cluster of two nodes on this machine, one of which is killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import psutil
import pytest

from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.data.manifest import write_manifest

needs_ray = pytest.mark.skipif(
    find_spec("ray") is None, reason="needs Ray: pip install 'vidssl[ray]'"
)

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
sizes = {"num_cpus": 1, "object_store_memory": 80_000_000}
cluster = Cluster(initialize_head=True, head_node_args=sizes | {"include_dashboard": False})
second = cluster.add_node(**sizes)
print(cluster.address, second.all_processes["raylet"][0].process.pid, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("killed", flush=True)
cluster.shutdown()
"""
SMALL_TASKS = """
import sys
from vidssl_cli.cli import main, ray_engine
ray_engine.FRAMES = 100
main()
"""


class Cluster:
    """Two nodes of one core each."""

    def __init__(self, process):
        self.process = process
        self.address, raylet = process.stdout.readline().split()
        self.second = psutil.Process(int(raylet))

    def start(self, *words):
        """Start a command whose tasks are small."""
        environment = os.environ | {"RAY_ADDRESS": self.address}
        return subprocess.Popen(
            [sys.executable, "-c", SMALL_TASKS, *map(str, words)],
            env=environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def works(self):
        """Tell whether the second node is running a task."""
        names = [child.cmdline() for child in self.second.children()]
        return any("ray::_perform" in " ".join(name) for name in names)

    def kill_second(self):
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"


@pytest.fixture
def cluster():
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL,
        text=True, env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        yield Cluster(process)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)


@pytest.fixture
def videos(toy_videos, tmp_path):
    """Forty-eight files and their manifest."""
    rows = []
    for number in range(48):
        video = toy_videos[number % 12]
        path = tmp_path / "videos" / f"{number:02}.mp4"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(video.path, path)
        rows.append(replace(video, path=str(path)))
    write_manifest(tmp_path / "videos.jsonl", rows)
    return tmp_path / "videos.jsonl"


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "pack.json", "pack.json.sha256")
    }


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_work_on_two_nodes_of_which_one_is_killed_is_that_of_one_process(
    cluster, videos, toy_encoder, tmp_path
):
    """An index while a node is killed; then, on what is left, an index whose command is killed."""
    model = tmp_path / "model"
    toy_encoder().export(model)
    index = ["index", model, "--data", videos, "--device", "cpu"]
    assert run(app, [*map(str, index), "--out", str(tmp_path / "one")]) == 0
    command = cluster.start(*index, "--out", tmp_path / "many", "--engine", "ray")
    journal = tmp_path / "many" / ".embedded"
    until(lambda: command.poll() is not None or (journal.exists() and cluster.works()))
    assert not (tmp_path / "many" / "CURRENT").exists()
    cluster.kill_second()
    told = command.communicate(timeout=300)[1]
    assert command.returncode == 0, told
    assert contents(tmp_path / "many") == contents(tmp_path / "one")

    again = [*index, "--out", tmp_path / "again", "--engine", "ray"]
    command, journal = cluster.start(*again), tmp_path / "again" / ".embedded"
    until(lambda: command.poll() is not None or (journal.exists() and size(journal) > 5000))
    command.kill()
    command.communicate()
    assert not (tmp_path / "again" / "CURRENT").exists()
    kept = size(journal)
    command = cluster.start(*again)
    until(lambda: command.poll() is not None or size(journal) > kept)
    command.send_signal(signal.SIGINT)
    told = command.communicate(timeout=60)[1]
    assert command.returncode == 130, told
    command = cluster.start(*again)
    told = command.communicate(timeout=300)[1]
    assert command.returncode == 0, told
    assert "embedded by a run that did not finish" in told
    assert contents(tmp_path / "again") == contents(tmp_path / "one")


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scans_and_packed_sets_are_those_of_one_process(cluster, videos, tmp_path):
    (tmp_path / "videos" / "99.mp4").write_bytes(b"no video")
    pack = ["data", "pack", tmp_path / "videos", "--short-side", "24"]
    for out, more in (("one", ()), ("many", ("--engine", "ray"))):
        (tmp_path / out).mkdir()
        scan = ["data", "scan", tmp_path / "videos", "--out", tmp_path / out / "m.jsonl", *more]
        for words in (scan, [*pack, "--out", tmp_path / out / "set", *more]):
            command = cluster.start(*words)
            told = command.communicate(timeout=300)[1]
            assert command.returncode == 0, told
            assert "99.mp4" in told
    assert contents(tmp_path / "many") == contents(tmp_path / "one")


def until(true):
    end = time.monotonic() + 200
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def size(path):
    return path.stat().st_size if path.exists() else 0


def test_without_ray_one_line_says_how_to_install_it(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr("vidssl_cli.cli.ray_engine.find_spec", lambda name: None)
    words = ["data", "scan", str(tmp_path), "--out", str(tmp_path / "m.jsonl"), "--engine", "ray"]
    assert run(app, words) == 1
    told = capfd.readouterr().err
    assert (
        told == "error: --engine ray needs Ray\nhint: install it by `pip install 'vidssl[ray]'`\n"
    )


@needs_ray
def test_a_cluster_that_is_not_there_is_named(tmp_path):
    words = ["data", "scan", tmp_path, "--out", tmp_path / "m.jsonl", "--engine", "ray"]
    done = subprocess.run(
        [sys.executable, "-m", "vidssl_cli", *map(str, words)],
        env=os.environ | {"RAY_ADDRESS": "127.0.0.1:1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "there is no Ray cluster at 127.0.0.1:1" in done.stderr
