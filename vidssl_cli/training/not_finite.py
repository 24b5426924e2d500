"""NaN and infinity in losses, gradients and weights: what they are found in, and what follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import VidsslError

if TYPE_CHECKING:
    from vidssl_cli.training.run import Run
    from vidssl_cli.training.run_progress import Progress

OnNaN = Literal["stop", "skip"]
"""Whether a step whose loss or gradient is not finite ends the run, or is skipped."""

FEW = 3
"""Names that an error message lists."""


class NotFiniteError(VidsslError):
    """The loss or the gradient of a step is not finite; nothing was learned from it."""

    code = "not_finite"


class StepSkipper:
    """Skips steps whose loss or gradient is not finite, as long as they are few."""

    def __init__(
        self, on_nan: OnNaN, run: Run, progress: Progress, epoch_steps: int, leads: bool
    ) -> None:
        """Prepare for a run.

        Args:
            on_nan: whether such steps are skipped at all.
            run: in whose metrics.jsonl they are recorded.
            progress: counts them.
            epoch_steps: steps of an epoch; more than a tenth of them are too many.
            leads: whether this process writes the run directory.
        """
        self.on_nan = on_nan
        self.run = run
        self.progress = progress
        self.epoch_steps = epoch_steps
        self.leads = leads

    def skip(self, error: NotFiniteError, videos: Sequence[str]) -> None:
        """Record that the current step was not taken, with its videos, and count it.

        Raises:
            NotFiniteError: the run stops here; its last checkpoint stands.
        """
        progress = self.progress
        number = progress.step + 1
        row = {"step": number, "epoch": progress.epoch, "not_finite": str(error)}
        if self.leads:
            self.run.log({**row, "videos": list(videos)})
        found = f"step {number}: {error}; its videos: {first_few(videos)}"
        if self.on_nan == "stop":
            raise self._stop(
                found,
                "lower train.optimizer.lr, set train.clip_gradient, or go on without such steps: "
                "--resume --on-nan skip",
            ) from error
        progress.skipped += 1
        progress.epoch_skipped += 1
        self.run.facts["skipped_steps"] = progress.skipped
        if progress.epoch_skipped > min(max(1, self.epoch_steps // 10), self.epoch_steps - 1):
            raise self._stop(
                f"{progress.epoch_skipped} of the {self.epoch_steps} steps of epoch "
                f"{progress.epoch + 1} could not be taken, which is too many; {found}",
                "training has diverged: lower train.optimizer.lr, or set train.clip_gradient, in a "
                "new run",
            ) from error
        if self.leads:
            warn(f"skipped {found}")

    def _stop(self, found: str, hint: str) -> NotFiniteError:
        last = self.run.checkpoints / "last"
        stands = f"the checkpoint {last.resolve().name} stands" if last.exists() else "start again"
        return NotFiniteError(found, where=str(self.run.folder), hint=f"{stands}; {hint}")


class SavedBuffers:
    """A copy of a module's buffers, such as running statistics, which a forward pass changes."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Copy the buffers of a module."""
        self._saved = [(buffer, buffer.clone()) for buffer in module.buffers()]

    @torch.no_grad()
    def restore(self) -> None:
        """Give the buffers the values that they had."""
        for buffer, saved in self._saved:
            buffer.copy_(saved)


def describe_problem(
    values: Mapping[str, float], gradients: Mapping[str, Tensor], norm: float
) -> str:
    """Say which terms of the loss, or which gradients, are not finite.

    Args:
        values: the loss, and its terms and metrics by name.
        gradients: of every parameter by its name.
        norm: of all gradients together.
    """
    if not math.isfinite(values["loss"]):
        terms = {name: value for name, value in values.items() if name != "loss"}
        found = {name: value for name, value in terms.items() if not math.isfinite(value)}
        found = found or {"the loss": values["loss"]}
        return first_few([f"{name} is {value:g}" for name, value in found.items()])
    broken = find_not_finite(gradients.items())
    names = first_few([f"of {name}" for name in broken])
    return f"the gradient {names} is not finite" if broken else f"the gradient's norm is {norm:g}"


def find_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Return the names of the tensors in which a number is not finite."""
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            # No copy, however large it is.
            finite = torch.stack(tensor.detach().aminmax()).isfinite().all()
            by_device.setdefault(tensor.device, {})[name] = finite
    return [
        name
        for flags in by_device.values()  # of which the host fetches all at once
        for name, finite in zip(flags, torch.stack([*flags.values()]).tolist(), strict=True)
        if not finite
    ]


def first_few(names: Sequence[str]) -> str:
    """List the first names, and say how many more there are."""
    rest = [f"and {len(names) - FEW} more"] if len(names) > FEW else []
    return ", ".join([*names[:FEW], *rest])
