"""`--dry-run`: take a few steps, keep nothing, and tell what the whole run would cost."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.console import emit_table
from vidssl_cli.model.devices import place
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.progress import who_holds_back
from vidssl_cli.training.step import Stepper, choose_precision

if TYPE_CHECKING:
    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.model.devices import World
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.model.precision import Precision

STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run would take."""

    videos: int
    """That can be used."""
    batch: tuple[int, ...]
    """B x V x C x T x H x W of one process."""
    parameters: int
    precision: Precision
    steps: int
    """Of the whole run."""
    clips_per_second: float
    """What the slower of loader and model does."""
    offered: float
    """Clips per second that the loaders of all processes can deliver."""
    asked: float
    """Clips per second that the model takes in all processes."""
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
    precision = choose_precision(learner, loader, settings, world)
    step = Stepper(learner, optimizer, settings, loader.steps, world, precision)
    training = 0.0
    clips = 0
    for number, batch in enumerate(islice(loader.epoch(0), STEPS)):
        begun = time.monotonic()
        step(batch, number)
        if number or loader.steps == 1:  # the first one warms up
            training += time.monotonic() - begun
            clips += batch.clips.shape[:2].numel()
    offers, asks = loader.capacity() * world.size, clips * world.size / training
    total = loader.steps * settings.epochs
    of_a_step = batch.clips.shape[:2].numel() * world.size
    return Cost(
        videos=len(loader.videos),
        batch=tuple(batch.clips.shape),
        parameters=sum(p.numel() for p in learner.parameters()),
        precision=precision,
        steps=total,
        clips_per_second=min(offers, asks),
        offered=offers,
        asked=asks,
        seconds=total * of_a_step / min(offers, asks),
        memory=_memory(world.device),
        device=str(world.device),
    )


def show(cost: Cost) -> None:
    """Print an estimate as a table."""
    rows: list[list[object]] = [
        ["videos", cost.videos],
        ["batch (B x V x C x T x H x W)", " x ".join(map(str, cost.batch))],
        ["parameters", cost.parameters],
        ["precision", cost.precision],
        ["steps", cost.steps],
        ["clips/s the loader offers", round(cost.offered, 1)],
        ["clips/s the model asks for", round(cost.asked, 1)],
        ["held back by", who_holds_back(cost.offered, cost.asked)],
        ["time", f"{cost.seconds / 60:.1f} minutes"],
        ["memory", f"{cost.memory / 2**30:.1f} GiB on {cost.device}"],
    ]
    emit_table("A rehearsal; nothing was kept", ["what", "found"], rows)


def _memory(device: torch.device) -> int:
    """Return the most memory that was taken so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
