"""Hours in minutes: many opened files, many clips, a long training; memory and files stay level."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import cycle, islice
from pathlib import Path

import psutil

from torture._footage import KINDS, write
from torture.bystanders import RECIPE
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.media.probe import probe

GROWTH = 32 << 20
"""Bytes by which a process may grow after it has warmed up."""
MEASURED = 50
"""How often memory is looked at, in a run of any length."""


def prepare(shared: Path) -> None:
    """Write a healthy video of every kind, and as many that are cut short."""
    for seed, (name, kind) in enumerate(KINDS.items()):
        path = shared / f"{name}{kind.suffix}"
        write(path, kind, seed)
        content = path.read_bytes()
        (shared / f"short {path.name}").write_bytes(content[: len(content) * 2 // 3])


def opens(case: Case, count: int) -> Facts:
    """Scan files over and over, every second of them damaged."""

    def scan() -> Iterator[None]:
        for path in cycle(sorted(case.shared.iterdir())):
            try:
                probe(str(path))
            except MediaError:
                if not path.name.startswith("short "):
                    raise
            yield

    return _watch("opens", scan(), count)


def clips(case: Case, count: int) -> Facts:
    """Load training batches of two clips of each of four videos."""
    videos = [probe(str(case.shared / f"{name}{kind.suffix}")) for name, kind in KINDS.items()]
    recipe = PretrainRecipe.model_validate(RECIPE)
    sampler = build_sampler(recipe.sampler, recipe.input)
    order = Order(videos, sampler, seed=case.seed, batch_videos=4)
    loader = Loader(order, Pipeline(recipe.input, recipe.augment), workers=2)
    per_batch = 4 * 2
    with closing(loader.batches(0, count // per_batch)) as batches:
        return _watch("clips", batches, count // per_batch, per_batch)


def _watch(what: str, steps: Iterator[object], count: int, each: int = 1) -> Facts:
    """Take so many steps; raise if memory or open files grow after the first fifth of them."""
    process = psutil.Process()
    sizes, files = [], []
    while sum(1 for _ in islice(steps, max(1, count // MEASURED))):
        sizes.append(process.memory_info().rss)
        files.append(process.num_fds())
        if len(sizes) >= MEASURED:
            break
    return {what: count * each, **_judge(sizes, files)}


def _judge(sizes: Sequence[int], files: Sequence[int]) -> Facts:
    if len(sizes) < MEASURED:
        raise Broken(f"ended after {len(sizes)} of {MEASURED} parts")
    warm = len(sizes) // 5
    growth = max(sizes[-warm:]) - max(sizes[:warm])
    more = min(files[-warm:]) - min(files[:warm])  # some are open for a moment
    if growth > GROWTH or more > 0:
        raise Broken(f"grew by {growth / 2**20:.1f} MB and by {more} open files: {sizes}")
    return {"growth": growth, "files": more}


def train(case: Case, seconds: int) -> Facts:
    """Train in a process of its own, watch it from outside, and then ask it to stop."""
    data = case.folder / "data"
    data.mkdir()
    for name, kind in KINDS.items():
        shutil.copy(case.shared / f"{name}{kind.suffix}", data)
    recipe = {**RECIPE, "train": {**RECIPE["train"], "epochs": 100_000, "repeats": 20}}
    (case.folder / "recipe.yaml").write_text(json.dumps(recipe))
    log = case.folder / "log"
    options = ["--data", str(data), "--out", str(case.folder / "run"), "--device", "cpu"]
    command = [sys.executable, "-m", "vidssl_cli", "pretrain", str(case.folder / "recipe.yaml")]
    with log.open("w") as file, subprocess.Popen([*command, *options], stderr=file) as child:
        try:
            found = _sampled(child, case.folder / "run" / "metrics.jsonl", seconds, log)
        finally:
            child.send_signal(signal.SIGTERM)
            status = child.wait(60)
    if status != 75:
        raise Broken(f"a training that was asked to stop ended with {status}: {log.read_text()}")
    return {"seconds": seconds, **found}


def _sampled(child: subprocess.Popen[bytes], metrics: Path, seconds: int, log: Path) -> Facts:
    """Look at memory and open files from the first step on."""
    began = time.monotonic()
    while not metrics.exists() or not metrics.stat().st_size:
        if child.poll() is not None or time.monotonic() - began > 120:
            raise Broken(f"no step is taken: {log.read_text()}")
        time.sleep(0.2)
    process = psutil.Process(child.pid)
    sizes, files = [], []
    for _ in range(MEASURED):
        time.sleep(seconds / MEASURED)
        if child.poll() is not None:
            raise Broken(f"ended by itself: {log.read_text()}")
        sizes.append(process.memory_info().rss)
        files.append(process.num_fds())
    return {**_judge(sizes, files), "steps": metrics.read_bytes().count(b"\n")}


RUNS: Sequence[tuple[Callable[[Case, int], Facts], int]] = (
    (opens, 200), (clips, 800), (opens, 10_000), (clips, 100_000), (train, 600)
)  # fmt: skip
"""What is done, and how often or for how many seconds; the small ones are for `make test`."""


def run(case: Case) -> Facts:
    """Carry out one of the runs."""
    work, size = RUNS[case.number]
    return work(case, size)


def summary(facts: Sequence[Facts]) -> str:
    """Put the figures of all runs into a sentence."""
    told = [
        f"{fact[key]:,} {key}: {fact['growth'] / 2**20:+.1f} MB"
        for fact in facts
        for key in ("opens", "clips", "seconds")
        if key in fact
    ]
    return f"Growth of memory after the first fifth: {', '.join(told)}; no open file more."


SUITE = Suite(
    promise="memory grows by 32 MB at most, and open files by none, over 10,000 opened files, "
    "100,000 clips and ten minutes of training",
    cases=len(RUNS),
    share=(0, 1),
    run=run,
    prepare=prepare,
    summary=summary,
    limit=3600,
    jobs=1,
)
