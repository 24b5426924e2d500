"""The training loop, one for pre-training and fine-tuning alike."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import islice
from typing import TYPE_CHECKING

from vidssl_cli.base.errors import noted
from vidssl_cli.base.signals import Stopped, StopSignals, stopped
from vidssl_cli.contract.clips import Batch
from vidssl_cli.model.devices import place
from vidssl_cli.training import checkpoint
from vidssl_cli.training.checkpoint import Progress
from vidssl_cli.training.not_finite import Leaving, NotFiniteError, OnNaN, few
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.progress import TrainingProgress
from vidssl_cli.training.step import Stepper, choose_precision

if TYPE_CHECKING:
    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.model.devices import World
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.training.run import Run

Validate = Callable[[], dict[str, float]]
"""Measures the model after an epoch; ``score``, higher is better, chooses the best checkpoint."""


def fit(
    learner: Learner,
    loader: Loader,
    settings: Train,
    run: Run,
    world: World,
    *,
    validate: Validate | None = None,
    on_nan: OnNaN = "stop",
) -> None:
    """Train until the last epoch, from the run's last checkpoint if it has one.

    Without ``validate`` the best checkpoint is that of the epoch with the lowest mean loss. A step
    whose loss or gradient is not finite ends the run, or is left out if ``on_nan`` says so.

    Raises:
        Preempted, Interrupted: a signal arrived; a checkpoint was written.
        VidsslError: the loss or the gradient is not finite, or too often so; or another process is
            gone.
        NoRoomError: the disk is too small for checkpoints; those that are there are as they were.
    """
    place(learner, world.device)
    optimizer = build_optimizer(learner, settings.optimizer)
    progress = Progress()
    if os.path.lexists(last := run.checkpoints / "last"):  # if it leads nowhere, that is an error
        progress = checkpoint.restore(last.resolve(), learner, optimizer)
    if world.leads:
        checkpoint.tidy(run.checkpoints, progress)
        run.rewind(progress.epoch, progress.step)
        checkpoint.require_room_for(run.checkpoints, learner, optimizer)
    precision = run.facts.get("precision") or choose_precision(learner, loader, settings, world)
    run.facts |= {"on_nan": on_nan, "skipped_steps": progress.skipped}
    if world.leads:
        run.state("running", precision=precision)
    if settings.compile:
        learner.backbone.compile()
    step = Stepper(
        learner, optimizer, settings, loader.steps, world, precision, undoes=on_nan == "skip"
    )
    leaving = Leaving(on_nan, run, progress, loader.steps, tell=world.leads)
    saved = time.monotonic()
    on_disk = (progress.epoch, progress.step) if last.exists() else None

    def save(best: bool = False) -> None:
        nonlocal saved, on_disk
        if world.leads:
            checkpoint.save(run.checkpoints, learner, optimizer, progress, best=best)
        saved, on_disk = time.monotonic(), (progress.epoch, progress.step)

    def take(batch: Batch) -> dict[str, float]:
        """Take a step; one that is left out measures nothing."""

        def videos() -> list[str]:
            # Of all processes, each of which has a part of the batch.
            visits = loader.order.visits(progress.step)[0]
            return sorted({loader.videos[number].path for number in visits} - run.skipped)

        try:
            with noted(lambda: f"at step {progress.step + 1}, with the videos {few(videos())}"):
                return step(batch, progress.step)
        except NotFiniteError as error:
            leaving.leave_out(error, videos())
            return {}

    display = TrainingProgress(
        loader.steps * settings.epochs,
        progress.step,
        offer=lambda: loader.capacity() * world.size,
        shown=world.leads,
    )
    batches = loader.batches(progress.step, loader.steps * settings.epochs)
    with StopSignals() as signals, world.unbroken(), display, closing(batches):

        def stop_if_told(where: str) -> None:
            # All processes ask at the same places, so that they stop together.
            if number := world.any(signals.received):
                if on_disk != (progress.epoch, progress.step):
                    save()
                world.wait()  # or the launcher would kill the one that saves after the others
                raise stopped(number, where)

        for epoch in range(progress.epoch, settings.epochs):
            left = loader.steps - progress.epoch_step
            for batch in signals.until(display.timed(islice(batches, left))):
                stop_if_told(f"after step {progress.step}")
                values = take(batch)
                progress.step += 1
                progress.epoch_step += 1
                for name, value in values.items():
                    progress.sums[name] = progress.sums.get(name, 0.0) + value
                if world.leads:
                    if values:
                        run.log({"step": progress.step, "epoch": epoch, **values})
                    display.advance(batch.clips.shape[:2].numel() * world.size, values)
                due = time.monotonic() - saved >= 60 * settings.checkpoint_minutes
                if progress.epoch_step < loader.steps and world.any(due):
                    save()
            measured: dict[str, float] = {}
            with suppress(Stopped), signals.at_once():  # it changes nothing, and may take long
                measured = validate() if validate else {}
            stop_if_told(f"after step {progress.step}")
            _end_epoch(progress, loader.steps, run, world, measured, save)
        stop_if_told(f"after epoch {progress.epoch}")


def _end_epoch(
    progress: Progress,
    steps: int,
    run: Run,
    world: World,
    measured: dict[str, float],
    save: Callable[[bool], None],
) -> None:
    """Close the books of an epoch in which the model was measured, and keep it."""
    taken = steps - progress.epoch_skipped
    means = {name: total / taken for name, total in progress.sums.items()}
    score = measured.get("score", -means["loss"])
    best = progress.best is None or score > progress.best
    if best:
        progress.best = score
    progress.epoch += 1
    progress.epoch_step = progress.epoch_skipped = 0
    progress.sums = {}
    if world.leads:
        row = {f"epoch.{name}": value for name, value in (means | measured).items()}
        run.log({"step": progress.step, "epoch": progress.epoch - 1, **row})
    save(best)
