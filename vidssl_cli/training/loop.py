"""The training loop, one for pre-training and fine-tuning alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from vidssl_cli.base.errors import noted
from vidssl_cli.base.signals import Stopped, StopSignals, stopped
from vidssl_cli.model.devices import place, prepare_arithmetic
from vidssl_cli.training import checkpoint
from vidssl_cli.training.checkpoint import CheckpointSaver
from vidssl_cli.training.determinism import require_determinism
from vidssl_cli.training.gpu_errors import explain_gpu_errors
from vidssl_cli.training.not_finite import NotFiniteError, OnNaN, StepSkipper, first_few
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.progress import ProgressDisplay
from vidssl_cli.training.run_progress import Progress
from vidssl_cli.training.step import Stepper, choose_precision

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.data.parts import Parts
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.training.processes import World
    from vidssl_cli.training.run import Run

STOPPING = "\nstopping after this step, with a checkpoint; Ctrl-C again ends at once\n"

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
    whose loss or gradient is not finite ends the run, or is skipped if ``on_nan`` says so.

    Raises:
        Preempted, Interrupted: a signal arrived; a checkpoint was written.
        VidsslError: the loss or the gradient is not finite, or too often so; another process is
            gone; or the GPU is too small, or of a kind that torch was not built for.
        NoRoomError: the disk is too small for checkpoints; those that are there are as they were.
    """
    with explain_gpu_errors(settings, world.device):
        loop = _prepare(learner, loader, settings, run, world, validate, on_nan)
        loop.train(settings.epochs)


def _prepare(
    learner: Learner,
    loader: Loader,
    settings: Train,
    run: Run,
    world: World,
    validate: Validate | None,
    on_nan: OnNaN,
) -> _Loop:
    """Put everything in the state of the last checkpoint, if there is one."""
    if settings.deterministic and world.device.type == "cuda":
        require_determinism(learner.backbone, loader.clip_shape)
    prepare_arithmetic(world.device, deterministic=settings.deterministic)
    place(learner, world.device)
    optimizer = build_optimizer(learner, settings.optimizer)
    progress = _resume(run, learner, optimizer, world)
    precision = run.facts.get("precision") or choose_precision(learner, loader, settings, world)
    decoder = loader.pipeline.read.name
    run.facts |= {"on_nan": on_nan, "skipped_steps": progress.skipped, "decoder": decoder}
    if world.leads:
        run.record_state("running", precision=precision)
    if settings.compile:
        learner.backbone.compile()
    return _Loop(
        Stepper(
            learner,
            optimizer,
            settings,
            loader.steps,
            world,
            precision,
            scale=progress.scale,
            reversible=on_nan == "skip",
        ),
        loader,
        run,
        world,
        progress,
        StepSkipper(on_nan, run, progress, loader.steps, world.leads),
        CheckpointSaver(
            run.checkpoints, learner, optimizer, progress, world, settings.checkpoint_minutes
        ),
        ProgressDisplay(
            loader.steps * settings.epochs,
            progress.step,
            capacity=lambda: loader.capacity() * world.size,
            shown=world.leads,
        ),
        validate,
        StopSignals(STOPPING if world.leads else ""),
    )


def _resume(run: Run, learner: Learner, optimizer: Optimizer, world: World) -> Progress:
    """Load the last checkpoint, if there is one, and bring the run directory to its state."""
    progress = Progress()
    if os.path.lexists(last := run.checkpoints / "last"):  # if it leads nowhere, that is an error
        progress = checkpoint.restore(last.resolve(), learner, optimizer)
    if world.leads:
        checkpoint.tidy(run.checkpoints, progress)
        run.rewind(*progress.place)
        checkpoint.require_room_for(run.checkpoints, learner, optimizer)
    return progress


@dataclass
class _Loop:
    """Trains epoch after epoch; the fields are what it works with."""

    step: Stepper
    loader: Loader
    run: Run
    world: World
    progress: Progress
    skipper: StepSkipper
    saver: CheckpointSaver
    display: ProgressDisplay
    validate: Validate | None
    signals: StopSignals

    def train(self, epochs: int) -> None:
        """Train until so many epochs are complete."""
        progress = self.progress
        last, parts = self.loader.steps * epochs, self.step.settings.accumulate
        batches = self.loader.in_parts(progress.step, last, parts)
        with self.signals, self.world.explain_lost_process(), self.display, closing(batches):
            while progress.epoch < epochs:
                self._train_epoch(batches)
                measured = self._measure()
                self._stop_if_told(f"after step {progress.step}")
                self._end_epoch(measured)
            self._stop_if_told(f"after epoch {progress.epoch}")

    def _train_epoch(self, batches: Iterator[Parts]) -> None:
        """Take the steps that the current epoch has left, or those until a signal arrives."""
        progress, steps = self.progress, self.loader.steps
        left = islice(batches, steps - progress.epoch_step)
        for batch in self.signals.until(self.display.timed(left)):
            self._stop_if_told(f"after step {progress.step}")
            values = self._take_step(batch)
            progress.count_step(values)
            if self.world.leads:
                if values:
                    self.run.log({"step": progress.step, "epoch": progress.epoch, **values})
                self.display.advance(batch.clips * self.world.size, values)
            if progress.epoch_step < steps:
                self.saver.save_if_due()

    def _take_step(self, batch: Parts) -> dict[str, float]:
        """Take a step; return loss, metrics and learning rate, or nothing if it is skipped."""
        step = self.progress.step
        try:
            with noted(lambda: f"at step {step + 1}, with the videos {first_few(self._videos())}"):
                return self.step(batch, step)
        except NotFiniteError as error:
            self.skipper.skip(error, self._videos())
            return {}

    def _videos(self) -> list[str]:
        """Return the videos of the current step, of all processes, that can be read."""
        visits = self.loader.order.visits(self.progress.step)[0]
        return sorted({self.loader.videos[number].path for number in visits} - self.run.skipped)

    def _measure(self) -> dict[str, float]:
        """Measure the model, unless a signal arrives: that may take long, and changes nothing."""
        with suppress(Stopped), self.signals.at_once():
            return self.validate() if self.validate else {}
        return {}

    def _stop_if_told(self, where: str) -> None:
        """Save and stop after a signal; all processes ask at the same places and stop together."""
        if number := self.world.max(self.signals.received):
            self.saver.save_if_new()
            self.world.wait()  # or the launcher would kill the one that saves after the others
            raise stopped(number, where)

    def _end_epoch(self, measured: dict[str, float]) -> None:
        """Log the means and measurements of the epoch, and save a checkpoint."""
        progress, means = self.progress, self.progress.means()
        best = progress.end_epoch(measured.get("score", -means["loss"]))
        if self.world.leads:
            row = {f"epoch.{name}": value for name, value in (means | measured).items()}
            self.run.log({"step": progress.step, "epoch": progress.epoch - 1, **row})
        self.saver.save(best=best)
