"""`--dry-run`: take a few steps, keep nothing, and tell what the whole run would cost."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vidssl_cli.console import emit_table
from vidssl_cli.devices import place
from vidssl_cli.optim import build_optimizer
from vidssl_cli.train import Stepper

if TYPE_CHECKING:
    from vidssl_cli.batches import Loader
    from vidssl_cli.devices import World
    from vidssl_cli.model import Learner
    from vidssl_cli.recipe import Train

STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run would take."""

    videos: int
    """That can be used."""
    batch: tuple[int, ...]
    """B x V x C x T x H x W of one process."""
    parameters: int
    steps: int
    """Of the whole run."""
    clips_per_second: float
    """Of one process."""
    loading: float
    """Share of the time that is spent waiting for data."""
    seconds: float
    """Of the whole run."""
    memory: int
    """Most bytes that were taken on the device."""
    device: str


def rehearse(learner: Learner, loader: Loader, settings: Train, world: World) -> Cost:
    """Decode batches, train on them, and estimate the time and the memory that a run would take.

    Raises:
        MediaError: a video of the first batches cannot be read.
    """
    place(learner, world.device)
    optimizer = build_optimizer(learner, settings.optimizer)
    step = Stepper(learner, optimizer, settings, loader.steps, world)
    loading = training = 0.0
    clips = done = 0
    asked = time.monotonic()
    for number, batch in enumerate(loader.epoch(0)):
        loaded = time.monotonic()
        step(batch, number)
        trained = time.monotonic()
        if number or loader.steps == 1:  # the first one warms up
            loading += loaded - asked
            training += trained - loaded
            clips += batch.clips.shape[:2].numel()
            done += 1
        if number + 1 == STEPS:
            break
        asked = time.monotonic()
    total = loader.steps * settings.epochs
    taken = loading + training
    return Cost(
        videos=len(loader.videos),
        batch=tuple(batch.clips.shape),
        parameters=sum(p.numel() for p in learner.parameters()),
        steps=total,
        clips_per_second=clips / taken,
        loading=loading / taken,
        seconds=taken / done * total,
        memory=_memory(world.device),
        device=str(world.device),
    )


def show(cost: Cost) -> None:
    """Print an estimate as a table."""
    bound = "the data" if cost.loading > 0.5 else "the model"
    rows: list[list[object]] = [
        ["videos", cost.videos],
        ["batch (B x V x C x T x H x W)", " x ".join(map(str, cost.batch))],
        ["parameters", cost.parameters],
        ["steps", cost.steps],
        ["clips/s", round(cost.clips_per_second, 1)],
        ["held back by", f"{bound} ({cost.loading:.0%} of the time is loading)"],
        ["time", f"{cost.seconds / 60:.1f} minutes"],
        ["memory", f"{cost.memory / 2**30:.1f} GiB on {cost.device}"],
    ]
    emit_table("A rehearsal; nothing was kept", ["what", "found"], rows)


def _memory(device: torch.device) -> int:
    """Return the most memory that was taken so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
