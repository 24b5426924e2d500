"""SIGKILL at random moments of every command that takes long: it goes on to the same result."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torture._commands import Command, operations_of, start
from torture._media import write_noise
from torture.harness import Broken, Case, Facts, Suite
from vidssl_cli.contract.scores import identify, write_scores
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.sealed_folder import verify
from vidssl_cli.media.probe import probe
from vidssl_cli.model import run_directory

LAUNCHER = 30
"""Seconds after which torchrun kills the processes that one of theirs has left behind."""
PATIENCE = 600
"""Seconds that a command of a second may take on a machine that is busy with other things."""

TRAIN = {
    "epochs": 2,
    "batch_videos": 4,
    "precision": "fp32",
    "optimizer": {"name": "adamw", "lr": 1e-3},
    "schedule": {"name": "cosine", "warmup": 0.1},
    "clip_gradient": 5,
}
BACKBONE = {"name": "r3d", "depth": 10, "width": 4}
METHODS: dict[str, dict[str, Any]] = {
    "bank": {
        "sampler": {"name": "sstl", "frames": 8},
        "pretext": {
            "name": "sstl", "proj_dim": 8, "proj_hidden": [8], "rate_hidden": 8,
            "bank_negatives": 6,
        },
    },
    "queue": {
        "sampler": {"name": "uniform", "views": 2, "frames": 8},
        "pretext": {
            "name": "instance", "proj_dim": 8, "proj_hidden": [8], "momentum": 0.9, "queue": 12,
        },
    },
    "curriculum": {
        "sampler": {
            "name": "curriculum",
            "scores": "SHARED/scores.jsonl",
            "sampler": {"name": "consecutive", "start": "pieces"},
            "pacing": {"name": "single", "start": 0.5},
        },
        "pretext": {"name": "statistics", "hidden": [8]},
    },
    "groups": {
        "backbone": BACKBONE | {"norm": {"name": "tgn", "frames": 2}},
        "sampler": {"name": "playback_speed", "frames": 8, "speeds": 3},
        "pretext": {"name": "order", "hidden": 8, "orders": "all"},
    },
}  # fmt: skip
"""What remembers earlier steps: a bank of all videos, a queue with a slow copy of the network, an
order of clips that changes with the run, statistics of groups of frames."""


@dataclass(frozen=True)
class Task:
    """A command that is killed."""

    name: str
    arguments: Sequence[str]
    """SHARED stands for the folder that all cases share."""
    processes: Sequence[int] = (1,)
    """How many may train together."""
    workers: Sequence[int] = ()
    """Decoding threads to choose from, where the command lets one choose."""


def _training(command: str, recipe: str, *more: str) -> Task:
    arguments = [command, f"SHARED/{recipe}.json", "--data", "SHARED/videos.jsonl", *more]
    arguments += ["--out", "out", "--resume", "--device", "cpu"]
    return Task(recipe, arguments, processes=(1, 2), workers=(0, 2, 4))


INDEX = ("index", "SHARED/base", "--data", "SHARED/videos.jsonl", "--device", "cpu")
TASKS = (
    *[_training("pretrain", method) for method in METHODS],
    _training("finetune", "finetune", "--from", "SHARED/base"),
    Task("evaluate", ["evaluate", "out", "--data", "SHARED/videos.jsonl", "--device", "cpu"]),
    Task(
        "pack",
        ["data", "pack", "SHARED/videos.jsonl", "--out", "out", "--short-side", "24"],
        workers=(1, 2, 4),
    ),
    Task("index", [*INDEX, "--out", "out"]),
    Task("shard", [*INDEX, "--out", "out", "--shard", "2/2"]),
    Task("merge", ["merge", "out"]),
    Task("embed", ["embed", *INDEX[1:], "--out", "out/features.npz"]),
)  # fmt: skip


def prepare(shared: Path) -> None:
    """Make videos, recipes, and a run to go on from."""
    videos = []
    for number in range(12):
        path = shared / f"{number}.mp4"
        write_noise(path, number, step=1 + number % 3)
        split = "train" if number < 8 else "test"
        videos.append(replace(probe(str(path)), label=f"class {number % 3}", split=split))
    write_manifest(shared / "videos.jsonl", videos)
    rows = [replace(identify(video), scores=(0.9, 0.1)) for video in videos]
    write_scores(shared / "scores.jsonl", {"frames": 16}, rows)
    common = {
        "input": {"resize": [24, 32], "crop": 16, "mode": "residual"},
        "backbone": BACKBONE,
        "augment": {"grey": 0.2, "colour": {"brightness": 0.2, "per": "frame"}},
        "evaluation": {"clips": 2},
        "train": TRAIN,
    }
    recipes = {name: common | method for name, method in METHODS.items()}
    recipes["finetune"] = {
        "task": "finetune",
        "sampler": {"name": "uniform", "frames": 8},
        "dropout": 0.5,
        "evaluation": {"clips": 2},
        "train": TRAIN,
    }
    for name, recipe in recipes.items():
        text = json.dumps(recipe).replace("SHARED", str(shared))
        (shared / f"{name}.json").write_text(text)
    base = ["pretrain", "bank.json", "--data", "videos.jsonl", "--out", "base", "--device", "cpu"]
    _finish(start(base, shared))
    for shard in ("1/2", "2/2"):
        words = [word.replace("SHARED", str(shared)) for word in INDEX]
        _finish(start([*words, "--out", "shards", "--shard", shard], shared))


def run(case: Case) -> Facts:
    """Kill a command up to three times, at least once; compare its end with that of one let be."""
    task = TASKS[case.number % len(TASKS)]
    processes = case.random.choice(task.processes)
    arguments = [part.replace("SHARED", str(case.shared)) for part in task.arguments]
    if "--resume" in arguments:  # checkpoints after every step, or after every epoch
        arguments += ["--set", f"train.checkpoint_minutes={case.random.choice((0, 30))}"]
    whole = _whole(case, task, arguments, processes)
    if task.workers:  # of any number, also where the one that was let be had another
        arguments += ["--workers", str(case.random.choice(task.workers))]
    kills: list[str] = []
    share = 1.0
    while not kills:  # a command that was faster than the one that was timed is begun again
        folder = _begin(case, task)
        for _ in range(case.random.randint(1, 3)):
            kills += _kill(case, arguments, folder, processes, whole, share)
            _check(folder / "out")
        share *= 0.7
    _finish(start(arguments, folder, processes=processes))
    _compare(whole["digests"], digests(folder / "out"))
    return {"task": task.name, "processes": processes, "kills": kills}


def _begin(case: Case, task: Task) -> Path:
    """Return the folder that a command is started in, as it is before."""
    folder = case.folder / "place"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    if before := {"evaluate": "base", "merge": "shards"}.get(task.name):
        shutil.copytree(case.shared / before, folder / "out", symlinks=True)
    return folder


def _whole(case: Case, task: Task, arguments: Sequence[str], processes: int) -> dict[str, Any]:
    """Return what comes of a command that is let be, once for all cases."""
    digest = hashlib.sha256(json.dumps([*arguments, processes]).encode()).hexdigest()[:12]
    kept = case.shared / "whole" / f"{task.name}-{digest}.json"
    if not kept.exists():
        folder = _begin(case, task)
        began = time.monotonic()
        _finish(start(arguments, folder, processes=processes, operations=1 << 30))
        seconds = time.monotonic() - began
        found = digests(folder / "out")
        whole = {"seconds": seconds, "operations": operations_of(folder), "digests": found}
        atomic_write(kept, json.dumps(whole))  # two cases at once write the same
    known: dict[str, Any] = json.loads(kept.read_text())
    return known


def _kill(
    case: Case,
    arguments: Sequence[str],
    folder: Path,
    processes: int,
    whole: dict[str, Any],
    share: float,
) -> list[str]:
    """Start a command and kill it; return at which moment, or nothing if it was done before."""
    if case.random.random() < 0.5:
        number = case.random.randrange(whole["operations"])
        moment = f"operation {number}"
        command = start(arguments, folder, processes=processes, operations=number)
        command.wait(PATIENCE)
    else:
        seconds = case.random.random() * whole["seconds"] * share
        moment = f"{seconds:.3f} s"
        command = start(arguments, folder, processes=processes)
        command.wait(seconds)
    if case.random.random() < 0.5:  # one is killed, and the launcher gives the others some time
        case.random.choice(command.processes).kill()
        command.settle(LAUNCHER)
    command.kill()
    return [moment] if any(command.end(PATIENCE)) else []


def _finish(command: Command) -> None:
    if any(statuses := command.end(PATIENCE)):
        raise Broken(f"ended with {statuses}: {command.log.read_text()[-3000:]}")


def _check(out: Path) -> None:
    """Check what a command that was killed has left: nothing that can be seen is damaged."""
    for manifest in out.glob("**/manifest.json"):
        if ".tmp-" not in str(manifest):
            verify(manifest.parent)
    for name in ("last", "best"):
        link = out / "checkpoints" / name
        if link.is_symlink() and not link.exists():
            raise Broken(f"{link} leads nowhere")
    if (out / "run.json").exists():
        state = run_directory.state_of(out, run_directory.read_facts(out))
        if state == "running":
            raise Broken("a run without a process is said to be running")


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file and the target of every link, by name.

    Left out are TensorBoard's events, what is empty, and what run.json says of time and of the
    command, and so its own digest, and the id by which loggers know the run, which is drawn.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.startswith("features/") and path.is_file():  # parts have names by chance
            listing = path.with_name("manifest.json").read_bytes()
            name = f"features/{hashlib.sha256(listing).hexdigest()}/{path.name}"
        # A segment that was written before its shard was done leaves its number to the next.
        name = re.sub(r"^(shard-[^/]+/segment)-\d+/", r"\1/", name)
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file() and path.name != ".lock" and not path.name.startswith("events.out."):
            found[name] = hashlib.sha256(_content(path)).hexdigest()
    return found


def _content(path: Path) -> bytes:
    if path.name == "run.json":
        facts = json.loads(path.read_bytes())
        once = {"id", "started", "updated", "argv", "sha256"}
        facts = {key: facts[key] for key in facts.keys() - once}
        return json.dumps(facts, sort_keys=True).encode()
    return path.read_bytes()


def _compare(whole: dict[str, str], found: dict[str, str]) -> None:
    if found != whole:
        names = sorted(whole.keys() | found.keys())
        differ = [name for name in names if whole.get(name) != found.get(name)]
        told = [f"{name}: {whole.get(name)} became {found.get(name)}" for name in differ]
        raise Broken("differs from what was let be:\n" + "\n".join(told))


def _summary(facts: Sequence[Facts]) -> str:
    tasks = Counter(each["task"] for each in facts)
    kills = sum(len(each["kills"]) for each in facts)
    two = sum(each["processes"] == 2 for each in facts)
    cases = ", ".join(f"{name} {count}" for name, count in sorted(tasks.items()))
    return f"{kills} kills; {cases}; {two} of them in two processes."


SUITE = Suite(
    promise="a command that is killed at any moment goes on to the result of one that was let be",
    cases=200,
    share=(0, 7),
    run=run,
    prepare=prepare,
    summary=_summary,
    limit=6 * PATIENCE,
)
