"""The training loop, one for pre-training and fine-tuning alike."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vidssl_cli import checkpoint
from vidssl_cli.base.errors import noted
from vidssl_cli.base.signals import Stopped, StopSignals, stopped
from vidssl_cli.checkpoint import Progress
from vidssl_cli.contract.clips import Batch
from vidssl_cli.finite import Buffers, Leaving, NotFiniteError, OnNaN, few, problem
from vidssl_cli.model.devices import place
from vidssl_cli.model.precision import DTYPES, training_precision
from vidssl_cli.optim import build_optimizer, lr_factor
from vidssl_cli.progress import TrainingProgress

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.model.devices import World
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.model.precision import Precision
    from vidssl_cli.runs import Run

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
        offer=lambda: loader.offer() * world.size,
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


def choose_precision(learner: Learner, loader: Loader, settings: Train, world: World) -> Precision:
    """Return what the backbone computes in, the same in every process."""
    if settings.precision != "auto":
        return settings.precision
    side = loader.settings.crop
    clip = (3, loader.sampler.frames, side, side)
    chosen = training_precision(learner.backbone, clip, world.device)
    return "bf16" if world.any(chosen == "bf16") else "fp32"


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


NORM = "norm of the gradient"
"""What it is called among the values that processes agree on."""


class Stepper:
    """One optimizer step after another."""

    def __init__(
        self,
        learner: Learner,
        optimizer: Optimizer,
        settings: Train,
        steps_per_epoch: int,
        world: World,
        precision: Precision,
        *,
        undoes: bool = False,
    ) -> None:
        self.learner = learner
        self.optimizer = optimizer
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.world = world
        self.precision = DTYPES[precision]
        self.undoes = undoes
        """Whether a step that is not taken leaves everything as it was, at the price of a copy of
        all buffers at every step."""
        self.module: nn.Module = learner
        if world.size > 1:
            # A pretext on an early tap leaves later layers without a gradient. A static graph
            # allows for that at no cost, but not where gradients add up over parts of a batch.
            static = settings.accumulate == 1
            shared = DistributedDataParallel(
                learner, static_graph=static, find_unused_parameters=not static
            )
            # Buffers would be sent at every step, and a memory bank is a gigabyte. Pretexts keep
            # theirs equal; running statistics of batch norm are not read in training, and those
            # that are saved, and measured with, are the first process's either way. (The argument
            # of that name is deprecated; the attribute works in every version.)
            shared.broadcast_buffers = False
            self.module = shared
        learner.train()

    def __call__(self, batch: Batch, step: int) -> dict[str, float]:
        """Take the step of that number; return loss, metrics and learning rate.

        Raises:
            NotFiniteError: the loss or the gradient is not finite, in any process; weights and
                memories are still those of the step before, and with ``undoes`` buffers are too.
        """
        buffers = Buffers(self.learner) if self.undoes else None
        _seed_torch(self.settings.seed, step, self.world.rank)
        lr = self._set_lr(step)
        self.optimizer.zero_grad(set_to_none=True)
        values = self._backward(batch)
        gradients = {
            name: parameter.grad
            for name, parameter in self.learner.named_parameters()
            if parameter.grad is not None
        }
        norm = nn.utils.get_total_norm(gradients.values())
        values = self.world.mean(values | {NORM: float(norm)})  # so that all processes judge alike
        size = values.pop(NORM)
        if not (math.isfinite(values["loss"]) and math.isfinite(size)):
            found = problem(values, gradients, size)
            self.learner.discard_step()
            if buffers:
                buffers.restore()
            raise NotFiniteError(found, hint="lower train.optimizer.lr, or set train.clip_gradient")
        if (most := self.settings.clip_gradient) is not None:
            nn.utils.clip_grads_with_norm_(self.learner.parameters(), most, norm)
        self.optimizer.step()
        self.learner.after_step()
        return values | {"lr": lr}

    def _set_lr(self, step: int) -> float:
        settings = self.settings
        factor = lr_factor(settings.schedule, step, self.steps_per_epoch, settings.epochs)
        lr = settings.optimizer.lr * factor
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _backward(self, batch: Batch) -> dict[str, float]:
        """Accumulate the gradient of the mean loss; return loss and metrics of the batch."""
        videos = len(batch.video)
        values: dict[str, float] = {}
        parts = list(_split(batch, self.settings.accumulate))
        for number, part in enumerate(parts):
            share = len(part.video) / videos
            with nullcontext() if number + 1 == len(parts) else self._local_gradients():
                loss, named = self.module(part, self.precision)
                (loss * share).backward()
            for name, value in {"loss": loss.detach(), **named}.items():
                values[name] = values.get(name, 0.0) + share * float(value)
        return values

    def _local_gradients(self) -> AbstractContextManager[None]:
        """Keep DistributedDataParallel from averaging before the last part of a batch."""
        if isinstance(self.module, DistributedDataParallel):
            synchronised: AbstractContextManager[None] = self.module.no_sync()
            return synchronised
        return nullcontext()


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    """Cut a batch into parts, none of them empty: processes must take the same number of parts."""
    videos = len(batch.video)
    for rows in torch.arange(videos).tensor_split(min(parts, videos)):
        cut = slice(int(rows[0]), int(rows[-1]) + 1)
        yield Batch(
            clips=batch.clips[cut],
            labels={name: label[cut] for name, label in batch.labels.items()},
            video=batch.video[cut],
            frames=batch.frames[cut],
            pixels=None if batch.pixels is None else batch.pixels[cut],
            flow=None if batch.flow is None else batch.flow[cut],
        )


def _seed_torch(seed: int, step: int, rank: int) -> None:
    """Address what torch draws inside the network (dropout) by the step, so that it resumes."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)
