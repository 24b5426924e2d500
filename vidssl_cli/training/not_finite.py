"""NaN and infinity: what is to be done about them in losses, gradients and weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import VidsslError

if TYPE_CHECKING:
    from vidssl_cli.training.checkpoint import Progress
    from vidssl_cli.training.run import Run

OnNaN = Literal["stop", "skip"]
"""Whether a step whose loss or gradient is not finite ends the run, or is left out."""

FEW = 3
"""Names that a line has room for."""


class NotFiniteError(VidsslError):
    """The loss or the gradient of a step is not finite; nothing was learned from it."""

    code = "not_finite"


class Leaving:
    """Leaves out steps, as long as they are few."""

    def __init__(self, on_nan: OnNaN, run: Run, progress: Progress, steps: int, tell: bool) -> None:
        """Prepare for a run.

        Args:
            on_nan: what to do.
            run: where steps are told of that are not taken.
            progress: counts them.
            steps: of an epoch.
            tell: whether this process writes the run directory.
        """
        self.on_nan = on_nan
        self.run = run
        self.progress = progress
        self.steps = steps
        self.tell = tell

    def leave_out(self, error: NotFiniteError, videos: Sequence[str]) -> None:
        """Name the step under way that was not taken, its videos, and go on if that is wanted.

        Raises:
            NotFiniteError: the run is to stop; its last checkpoint stands.
        """
        progress = self.progress
        number = progress.step + 1
        row = {"step": number, "epoch": progress.epoch, "not_finite": str(error)}
        if self.tell:
            self.run.log({**row, "videos": list(videos)})
        where = f"step {number}: {error}; its videos: {few(videos)}"
        last = self.run.checkpoints / "last"
        stands = f"the checkpoint {last.resolve().name} stands" if last.exists() else "start again"
        if self.on_nan == "stop":
            raise NotFiniteError(
                where,
                where=str(self.run.folder),
                hint=f"{stands}; lower train.optimizer.lr, set train.clip_gradient, or go on "
                "without such steps: --resume --on-nan skip",
            ) from error
        progress.skipped += 1
        progress.epoch_skipped += 1
        self.run.facts["skipped_steps"] = progress.skipped
        most = min(max(1, self.steps // 10), self.steps - 1)
        if progress.epoch_skipped > most:
            raise NotFiniteError(
                f"{progress.epoch_skipped} of the {self.steps} steps of epoch "
                f"{progress.epoch + 1} could not be taken, which is too many; {where}",
                where=str(self.run.folder),
                hint=f"{stands}; training has diverged: lower train.optimizer.lr, or set "
                "train.clip_gradient, in a new run",
            ) from error
        if self.tell:
            warn(f"skipped {where}")


class Buffers:
    """What a forward pass may change, such as running statistics, to be taken back."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Copy the buffers of a module."""
        self._kept = [(buffer, buffer.clone()) for buffer in module.buffers()]

    @torch.no_grad()
    def restore(self) -> None:
        """Make them what they were."""
        for buffer, was in self._kept:
            buffer.copy_(was)


def problem(values: Mapping[str, float], gradients: Mapping[str, Tensor], norm: float) -> str:
    """Say what is not finite.

    Args:
        values: the loss, and its terms and metrics by name.
        gradients: of every parameter by its name.
        norm: of all gradients together.
    """
    if not math.isfinite(values["loss"]):
        terms = {name: value for name, value in values.items() if name != "loss"}
        found = {name: value for name, value in terms.items() if not math.isfinite(value)}
        found = found or {"the loss": values["loss"]}
        return few([f"{name} is {value:g}" for name, value in found.items()])
    broken = not_finite(gradients.items())
    names = few([f"of {name}" for name in broken])
    return f"the gradient {names} is not finite" if broken else f"the gradient's norm is {norm:g}"


def not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of those in which a number is not finite."""
    return [name for name, tensor in tensors if not _finite(tensor)]


def _finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() and tensor.numel()):
        return True
    return bool(torch.stack(tensor.aminmax()).isfinite().all())  # no copy, however large it is


def few(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    rest = [f"and {len(names) - FEW} more"] if len(names) > FEW else []
    return ", ".join([*names[:FEW], *rest])
