"""One optimizer step, whatever the learner and however many processes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vidssl_cli.contract.clips import Batch
from vidssl_cli.data.parts import Parts
from vidssl_cli.model.precision import DTYPES, Precision, training_precision
from vidssl_cli.training.loss_scale import LossScale
from vidssl_cli.training.not_finite import NotFiniteError, SavedBuffers, describe_problem
from vidssl_cli.training.optimizer import lr_factor

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from vidssl_cli.config.sections import Train
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.model.learner import Learner
    from vidssl_cli.training.processes import World


def choose_precision(learner: Learner, loader: Loader, settings: Train, world: World) -> Precision:
    """Return what the backbone computes in, the same in every process."""
    if settings.precision != "auto":
        return settings.precision
    chosen = training_precision(learner.backbone, loader.clip_shape, world.device)
    known = get_args(Precision)
    precision: Precision = known[world.max(known.index(chosen))]
    return precision


class Stepper:
    """Takes optimizer steps."""

    def __init__(
        self,
        learner: Learner,
        optimizer: Optimizer,
        settings: Train,
        steps_per_epoch: int,
        world: World,
        precision: Precision,
        *,
        scale: LossScale | None = None,
        reversible: bool = False,
    ) -> None:
        """Prepare the learner for training.

        Args:
            learner: in its place on the device.
            optimizer: over its parameters.
            settings: learning rate, accumulation and clipping.
            steps_per_epoch: for the schedule of the learning rate.
            world: the processes that share each step.
            precision: what the backbone computes in.
            scale: of the loss, in fp16.
            reversible: whether a step that is not taken leaves everything as it was, at the price
                of a copy of all buffers at every step.
        """
        self.learner = learner
        self.optimizer = optimizer
        self.settings = settings
        self.steps_per_epoch = steps_per_epoch
        self.world = world
        self.precision = DTYPES[precision]
        self.scale = (scale or LossScale()) if precision == "fp16" else None
        self.reversible = reversible
        self.module = _share(learner, settings.accumulate) if world.size > 1 else learner
        learner.train()

    def __call__(self, batch: Batch | Parts, step: int) -> dict[str, float]:
        """Take the step of that number; return loss, metrics and learning rate.

        Args:
            batch: a whole one, which is cut, or its parts.
            step: number.

        Raises:
            NotFiniteError: the loss or the gradient is not finite, in any process; weights and
                memories are still those of the step before, and so are buffers if the stepper is
                ``reversible``.
        """
        buffers = SavedBuffers(self.learner) if self.reversible else None
        lr = self._set_lr(step)
        while True:
            _seed_torch(self.settings.seed, step, self.world.rank)
            values, gradients, norm, size = self._gradients(batch)
            if math.isfinite(values["loss"]) and math.isfinite(size):
                break
            self.learner.discard_step()
            if self.scale and math.isfinite(values["loss"]) and self.scale.lower():
                continue  # with the same batch; only running statistics see it twice
            problem = describe_problem(values, gradients, size)
            if buffers:
                buffers.restore()
            hint = "lower train.optimizer.lr, or set train.clip_gradient"
            raise NotFiniteError(problem, hint=hint)
        if self.scale:
            self.scale.count_step()
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

    def _gradients(
        self, batch: Batch | Parts
    ) -> tuple[dict[str, float], dict[str, Tensor], Tensor, float]:
        """Compute the gradient of the mean loss.

        Returns:
            Loss and metrics, the mean over all processes; the gradient of each parameter that has
            one, by its name; its norm, and the mean of the norms of all processes.
        """
        self.optimizer.zero_grad(set_to_none=True)
        names, measured = self._backward(batch)
        gradients = {
            name: parameter.grad
            for name, parameter in self.learner.named_parameters()
            if parameter.grad is not None
        }
        if self.scale:
            torch._foreach_mul_([*gradients.values()], 1 / self.scale.factor)
        norm = nn.utils.get_total_norm(gradients.values())
        # All that the host needs of a step comes at once: each number that it fetches waits for the
        # device. It comes before the weights change, so that all processes decide alike whether to.
        *found, size = self.world.mean(torch.cat([measured, norm.to(measured)[None]]))
        return dict(zip(names, found, strict=True)), gradients, norm, size

    def _backward(self, batch: Batch | Parts) -> tuple[list[str], Tensor]:
        """Accumulate the gradient of the mean loss.

        Returns:
            The names of loss and metrics, and their values (n,) of the batch, float64, on the
            device.
        """
        videos = batch.videos if isinstance(batch, Parts) else len(batch.video)
        parts = batch if isinstance(batch, Parts) else split_batch(batch, self.settings.accumulate)
        total: Tensor | None = None
        seen = 0
        for part in parts:
            share = len(part.video) / videos
            seen += len(part.video)
            with nullcontext() if seen == videos else self._local_gradients():
                loss, named = self.module(part, self.precision)
                (loss * (share * self.scale.factor if self.scale else share)).backward()
            values = {"loss": loss.detach(), **named}
            stacked = torch.stack([value.to(loss.device) for value in values.values()]).double()
            total = share * stacked if total is None else total + share * stacked
        assert total is not None, "a batch has parts"
        return list(values), total

    def _local_gradients(self) -> AbstractContextManager[None]:
        """Keep DistributedDataParallel from averaging before the last part of a batch."""
        if isinstance(self.module, DistributedDataParallel):
            synchronised: AbstractContextManager[None] = self.module.no_sync()
            return synchronised
        return nullcontext()


def _share(learner: Learner, parts: int) -> DistributedDataParallel:
    """Have the processes average the gradients of a learner, which takes a batch in parts."""
    # A pretext on an early tap leaves later layers without a gradient. A static graph allows for
    # that at no cost, but not where gradients add up over parts of a batch.
    static = parts == 1
    shared = DistributedDataParallel(
        learner, static_graph=static, find_unused_parameters=not static
    )
    # Buffers would be sent at every step, and a memory bank is a gigabyte. Pretexts keep theirs
    # equal; running statistics of batch norm are not read in training, and those that are saved,
    # and measured with, are the first process's either way. (The argument of that name is
    # deprecated; the attribute works in every version.)
    shared.broadcast_buffers = False
    return shared


def split_batch(batch: Batch, parts: int) -> Iterator[Batch]:
    """Cut a batch into parts of almost equal size, as many as asked unless it has fewer videos."""
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
    """Seed torch's own draws (dropout) by the step, so that a resumed run draws the same."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)
