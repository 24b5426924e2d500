"""`--dry-run`: take a few steps, keep nothing, and estimate what the whole run would cost."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.console import emit_table
from vidssl_cli.model.devices import place, prepare_arithmetic
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.progress import name_bottleneck
from vidssl_cli.training.step import Stepper, choose_precision

if TYPE_CHECKING:
    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.model.precision import Precision
    from vidssl_cli.training.processes import World

STEPS = 3


@dataclass(frozen=True)
class Cost:
    """What a run would take; its fields are the keys of the JSON document."""

    videos: int
    """That can be used."""
    batch: tuple[int, ...]
    """B x V x C x T x H x W of one process."""
    parameters: int
    precision: Precision
    steps: int
    """Of the whole run."""
    clips_per_second: float
    """The lower of the next two."""
    offered: float
    """Clips per second that the loaders of all processes can deliver."""
    asked: float
    """Clips per second that the model can take in all processes."""
    seconds: float
    """Of the whole run."""
    memory: int
    """Peak memory on the device, in bytes."""
    device: str


def estimate_cost(learner: Learner, loader: Loader, settings: Train, world: World) -> Cost:
    """Train on a few batches, and estimate the time and the memory that a run would take.

    Raises:
        MediaError: a video of the first batches cannot be read.
    """
    prepare_arithmetic(world.device, deterministic=settings.deterministic)
    place(learner, world.device)
    optimizer = build_optimizer(learner, settings.optimizer)
    precision = choose_precision(learner, loader, settings, world)
    step = Stepper(learner, optimizer, settings, loader.steps, world, precision)
    training = 0.0
    clips = 0
    batches = loader.in_parts(0, min(STEPS, loader.steps), settings.accumulate)
    for number, batch in enumerate(batches):
        begun = time.monotonic()
        step(batch, number)
        if number or loader.steps == 1:  # the first one warms up
            training += time.monotonic() - begun
            clips += batch.clips
    offered, asked = loader.capacity() * world.size, clips * world.size / training
    total = loader.steps * settings.epochs
    clips_of_a_step = batch.clips * world.size
    return Cost(
        videos=len(loader.videos),
        batch=(batch.videos, batch.clips // batch.videos, *loader.clip_shape),
        parameters=sum(p.numel() for p in learner.parameters()),
        precision=precision,
        steps=total,
        clips_per_second=min(offered, asked),
        offered=offered,
        asked=asked,
        seconds=total * clips_of_a_step / min(offered, asked),
        memory=_peak_memory(world.device),
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
        ["clips/s of data loading", round(cost.offered, 1)],
        ["clips/s of the model", round(cost.asked, 1)],
        ["bottleneck", name_bottleneck(cost.offered, cost.asked)],
        ["time", f"{cost.seconds / 60:.1f} minutes"],
        ["memory", f"{cost.memory / 2**30:.1f} GiB on {cost.device}"],
    ]
    emit_table("estimate of a dry run; nothing was kept", ["what", "estimate"], rows)


def _peak_memory(device: torch.device) -> int:
    """Return the most memory that was in use so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
