"""`--dry-run`: take a few steps, keep nothing, and tell what the whole run would cost."""

from __future__ import annotations

import resource
import time
from itertools import islice
from typing import TYPE_CHECKING

import torch

from vidssl_cli.console import emit_table
from vidssl_cli.devices import place
from vidssl_cli.optim import build_optimizer
from vidssl_cli.progress import who_holds_back
from vidssl_cli.train import Stepper, choose_precision

if TYPE_CHECKING:
    from vidssl_cli.batches import Loader
    from vidssl_cli.devices import World
    from vidssl_cli.model import Learner
    from vidssl_cli.recipe import Train

STEPS = 3


def rehearse(learner: Learner, loader: Loader, settings: Train, world: World) -> None:
    """Decode batches, train on them, and print the time and the memory that a run would take.

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
    offers, asks = loader.offer() * world.size, clips * world.size / training
    total = loader.steps * settings.epochs
    of_a_step = batch.clips.shape[:2].numel() * world.size
    shape = " x ".join(map(str, batch.clips.shape))
    rows: list[list[object]] = [
        ["videos", len(loader.videos)],
        ["batch (B x V x C x T x H x W)", shape],
        ["parameters", sum(p.numel() for p in learner.parameters())],
        ["precision", precision],
        ["steps", total],
        ["clips/s the loader offers", round(offers, 1)],
        ["clips/s the model asks for", round(asks, 1)],
        ["held back by", who_holds_back(offers, asks)],
        ["time", f"{total * of_a_step / min(offers, asks) / 60:.1f} minutes"],
        ["memory", f"{_memory(world.device) / 2**30:.1f} GiB on {world.device}"],
    ]
    emit_table("A rehearsal; nothing was kept", ["what", "found"], rows)


def _memory(device: torch.device) -> int:
    """Return the most memory that was taken so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
