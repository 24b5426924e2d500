"""What a training step of a shipped recipe costs a GPU: host waits, launches and copies.

Recipes are shrunk to a network, clips and a batch that a CPU trains in a moment. Waits and copies
depend on the batch and on what is drawn for it, launches on the network as well, so that the
numbers say what a recipe asks of the host, and not what it takes at its own size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from simulated_gpu.counts import KINDS, Counts
from simulated_gpu.device import simulate
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.scores import identify, write_scores
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.media.encode import write_mp4
from vidssl_cli.media.probe import probe

BUDGETS = Path(__file__).with_name("budgets.json")
"""The most waits, launches and copies that a step of each shipped recipe may have."""

BATCH, STEPS = 4, 3
"""Videos of a step, and steps of an epoch."""
CROP, CLIP, FRAMES = 18, 16, 96
"""Pixels of a clip's side, the most frames of a clip, and frames of a video."""


def vidssl(*words: object) -> None:
    """Run a command line in this process.

    Raises:
        AssertionError: it fails.
    """
    line = [str(word) for word in words]
    assert run(app, [*line, "--debug"]) == 0, line


def make_videos(folder: Path) -> Path:
    """Write moving noise of three classes, for an epoch of training and a test, and its manifest.

    Beside it lies ``scores.jsonl``, for recipes with a curriculum.
    """
    videos = []
    for number in range(BATCH * STEPS + 6):
        texture = np.random.default_rng(number).integers(0, 256, (32, 48, 3), dtype=np.uint8)
        frames = [np.roll(texture, step * (1 + number % 3), axis=1) for step in range(FRAMES)]
        path = folder / f"{number}.mp4"
        write_mp4(path, np.stack(frames), 25)
        facts = {"label": f"class {number % 3}", "split": "train" if number >= 6 else "test"}
        videos.append(replace(probe(str(path)), **facts))
    scores = [
        replace(identify(video), scores=(float(number),) * (FRAMES // CLIP))
        for number, video in enumerate(videos)
    ]
    write_scores(folder / "scores.jsonl", {"frames": CLIP}, scores)
    write_manifest(folder / "videos.jsonl", videos)
    return folder / "videos.jsonl"


def beginning(name: str) -> str | None:
    """Return the shipped recipe whose run a recipe starts from; None if it pre-trains."""
    recipe = load(name)
    if isinstance(recipe, PretrainRecipe):
        return None
    return "demo" if recipe.heads == "fresh" else "papers/temporal-transforms-c3d-ucf101"


def shrunk(name: str, data: Path) -> list[str]:
    """Return the options of the command line that make a shipped recipe small, and no other."""
    recipe = load(name)
    values: dict[str, Any] = {
        "train.epochs": 1,
        "train.repeats": 1,
        "train.batch_videos": BATCH,
        "train.accumulate": 1,
        "train.precision": "fp32",
        "train.optimizer.lr": 1e-4,  # so that rounding does not grow from step to step
        "evaluation.clips": 2,
    }
    if isinstance(recipe, PretrainRecipe):
        values |= {"input.resize": [24, 32], "input.crop": CROP, "backbone.width": 4}
        if "cells" in type(recipe.backbone).model_fields:
            values["backbone.cells"] = [1, 1, 1]
        if "tubelet" in type(recipe.backbone).model_fields:
            values |= {"backbone.tubelet": [2, 4, 4], "backbone.heads": None}
        if recipe.sampler.name == "curriculum":
            values["sampler.scores"] = str(data.parent / "scores.jsonl")
        elif getattr(recipe.sampler, "start", None) == "pieces":  # every clip of a video is visited
            values["share"] = f"1/{FRAMES // CLIP}"
        if getattr(recipe.sampler, "frames", CLIP) > CLIP:
            values["sampler.frames"] = CLIP
    return [f"--set={key}={json.dumps(value)}" for key, value in values.items()]


@dataclass(frozen=True)
class Cost:
    """What a step asks of the host: the most that any step took, but the first.

    The first one finds memories empty and momenta missing.
    """

    waits: int
    launches: int
    copies: int
    lines: Counts
    """Of all these steps together, by line."""
    steps: int
    """How many they are."""


def measure(name: str, data: Path, out: Path, *options: object) -> Cost:
    """Train by a shipped recipe on a simulated GPU, for an epoch of `STEPS` steps.

    Args:
        name: of the recipe.
        data: what `make_videos` has made.
        out: run directory to be.
        options: of the command line, beside those that make the recipe small.
    """
    with simulate() as counts, after_each_step(counts) as noted:
        train(name, data, out, "--device", "cuda", *options)
    steps = [after - before for before, after in pairwise(noted)]
    most = {kind: max(step.total(kind) for step in steps) for kind in KINDS}
    return Cost(**most, lines=noted[-1] - noted[0], steps=len(steps))


def train(name: str, data: Path, out: Path, *options: object) -> None:
    """Train by a shipped recipe that is made small, without threads."""
    command = "pretrain" if isinstance(load(name), PretrainRecipe) else "finetune"
    vidssl(
        command, name, "--data", data, "--out", out, "--workers", 0, *shrunk(name, data), *options
    )


def trained(data: Path) -> Callable[[str], Path]:
    """Return what trains by a shipped recipe on the CPU, once, and returns the run."""

    @cache
    def source(recipe: str) -> Path:
        out = data.parent / recipe.replace("/", "-")
        train(recipe, data, out, "--device", "cpu")
        return out

    return source


def losses(run: Path) -> list[float]:
    """Return the loss of every step of a run."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["loss"] for row in rows if "loss" in row]


def weights(run: Path) -> dict[str, Tensor]:
    """Return the weights that a run ended with."""
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


@contextmanager
def after_each_step(counts: Counts) -> Iterator[list[Counts]]:
    """Note what was counted by the end of each optimizer step."""
    noted: list[Counts] = []
    hook = register_optimizer_step_post_hook(lambda *_: noted.append(counts.copy()))
    try:
        yield noted
    finally:
        hook.remove()
