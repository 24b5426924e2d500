"""Checkpoints: tensors in safetensors, the rest in JSON, all under a SHA-256 manifest.

    checkpoints/epoch-0018-step-00000375/
        model.safetensors  optimizer.safetensors  state.json  manifest.json
    checkpoints/last    a link to the newest
    checkpoints/best    a link to the best one

A checkpoint appears whole or not at all, and no byte of it is parsed before its digest was checked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file
from torch import Tensor, nn

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.files.atomic import point, sweep
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.sealed_folder import discard, publish
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.model.weights import MODEL, load_weights, read_tensors, write_tensors
from vidssl_cli.training.not_finite import find_not_finite, first_few
from vidssl_cli.training.run_progress import Progress

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from vidssl_cli.training.processes import World


OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


def save(
    checkpoints: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, *, best: bool
) -> Path:
    """Write a checkpoint, make it the last (and the best), and delete those that are neither.

    The link ``last`` decides; `tidy` completes what a process that was killed did not do.

    Raises:
        VidsslError: a number in it is not finite; earlier checkpoints are untouched.
        NoRoomError, OSError: it could not be written; earlier checkpoints are untouched.
    """
    weights, slots = model.state_dict(), _optimizer_tensors(model, optimizer)
    if broken := find_not_finite([*weights.items(), *slots.items()]):
        raise VidsslError(
            f"step {progress.step} left numbers that are not finite in {first_few(broken)}",
            where=str(checkpoints),
            hint="earlier checkpoints stand; lower train.optimizer.lr, or set train.clip_gradient",
        )
    # Epoch and step together: the last checkpoint is never replaced by one of the same name.
    folder = checkpoints / f"epoch-{progress.epoch:04d}-step-{progress.step:08d}"
    if best:
        progress.best_checkpoint = folder.name

    def write(draft: Path) -> None:
        write_tensors(draft / MODEL, weights)
        write_tensors(draft / OPTIMIZER, slots)
        (draft / STATE).write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")

    publish(folder, write, size=_bytes(weights) + _bytes(slots))
    point(checkpoints / "last", folder.name)
    tidy(checkpoints, progress)
    return folder


def tidy(checkpoints: Path, progress: Progress) -> None:
    """Point to the best checkpoint, and delete those that are neither the last nor the best.

    Args:
        checkpoints: the folder of checkpoints.
        progress: that of the last one.
    """
    sweep(checkpoints)
    last, best = (checkpoints / name for name in ("last", "best"))
    if progress.best_checkpoint and best.resolve().name != progress.best_checkpoint:
        point(best, progress.best_checkpoint)
    for folder in checkpoints.glob("epoch-*"):
        if folder.resolve() not in (last.resolve(), best.resolve()):
            discard(folder)


class CheckpointSaver:
    """Saves the checkpoints of a run; every process calls it, and the first one writes."""

    def __init__(
        self,
        checkpoints: Path,
        model: nn.Module,
        optimizer: Optimizer,
        progress: Progress,
        world: World,
        minutes: float,
    ) -> None:
        """Prepare to save.

        Args:
            checkpoints: the folder of checkpoints.
            model: what is trained, and
            optimizer: its optimizer, both as the last checkpoint says.
            progress: how far training has come, whenever a checkpoint is saved.
            world: the processes that train.
            minutes: between two checkpoints of an epoch.
        """
        self._checkpoints = checkpoints
        self._model = model
        self._optimizer = optimizer
        self._progress = progress
        self._world = world
        self._seconds = 60 * minutes
        self._saved_at = time.monotonic()
        self._saved = progress.place if (checkpoints / "last").exists() else None

    def save(self, *, best: bool = False) -> None:
        """Write a checkpoint; see `save`."""
        if self._world.leads:
            save(self._checkpoints, self._model, self._optimizer, self._progress, best=best)
        self._saved_at, self._saved = time.monotonic(), self._progress.place

    def save_if_due(self) -> None:
        """Save if the last checkpoint is too old; who writes need not ask the others."""
        if self._world.leads and time.monotonic() - self._saved_at >= self._seconds:
            self.save()

    def save_if_new(self) -> None:
        """Save unless the last checkpoint is of this very step."""
        if self._saved != self._progress.place:
            self.save()


def require_room_for(checkpoints: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse to train without room for three checkpoints: the last, the best, and a new one.

    Raises:
        NoRoomError: the disk has less room than what is missing of the three.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    slots = 2 if "betas" in optimizer.defaults else int(bool(optimizer.defaults["momentum"]))
    size = _bytes(model.state_dict()) + slots * sum(parameter.nbytes for parameter in trained)
    there = sum(path.stat().st_size for path in checkpoints.glob("epoch-*/*"))
    require_room(checkpoints, 3 * size - there, "the last checkpoint, the best, and a new one")


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def restore(folder: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Load a checkpoint into a model and its optimizer, bit for bit.

    Raises:
        DamagedFileError: a file is damaged, or belongs to another model.
    """
    load_weights(model, read_tensors(folder, OPTIMIZER, STATE), folder)
    parameters = dict(model.named_parameters())
    with understood(folder):
        for key, value in load_file(folder / OPTIMIZER).items():
            name, _, slot = key.rpartition("|")
            parameter = parameters[name]
            like = value if slot == "step" else parameter
            here = slot == "step" and not optimizer.defaults["fused"]  # which counts on the host
            place = value.device if here else parameter.device
            optimizer.state[parameter][slot] = torch.empty_like(like, device=place).copy_(value)
        return TypeAdapter(Progress).validate_python(read_json(folder / STATE))


def _optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}|{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if value is not None
    }
