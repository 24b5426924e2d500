"""Checkpoints: tensors in safetensors, the rest in JSON, all under a SHA-256 manifest.

    checkpoints/epoch-0018-step-00000375/
        model.safetensors  optimizer.safetensors  state.json  manifest.json
    checkpoints/last    a link to the newest
    checkpoints/best    a link to the best one

A checkpoint appears whole or not at all, and no byte of it is parsed before its digest was checked.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vidssl_cli.artefacts import point, publish, verify
from vidssl_cli.errors import DamagedFileError, VidsslError
from vidssl_cli.finite import few, not_finite

if TYPE_CHECKING:
    from torch.optim import Optimizer

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"


@dataclass
class Progress:
    """How far a run has come: everything that is neither weights nor optimizer."""

    epoch: int = 0
    """Epochs that are complete."""
    epoch_step: int = 0
    """Steps of the epoch under way that are complete."""
    step: int = 0
    """Steps that are complete, over all epochs."""
    sums: dict[str, float] = field(default_factory=dict)
    """Sums of loss and metrics over the steps of the epoch under way."""
    best: float | None = None
    """Highest score so far."""
    skipped: int = 0
    """Steps that were not taken for want of a finite loss, over all epochs."""
    epoch_skipped: int = 0
    """Those of the epoch under way."""


def save(
    checkpoints: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, *, best: bool
) -> Path:
    """Write a checkpoint, make it the last (and the best), and delete those that are neither.

    Raises:
        VidsslError, OSError: it could not be written, or a number in it is not finite; earlier
            checkpoints are untouched.
    """
    state, moments = model.state_dict(), _optimizer_tensors(model, optimizer)
    if broken := not_finite([*state.items(), *moments.items()]):
        raise VidsslError(
            f"step {progress.step} left numbers that are not finite in {few(broken)}",
            where=str(checkpoints),
            hint="earlier checkpoints stand; lower train.optimizer.lr, or set train.clip_gradient",
        )
    # Epoch and step together: the last checkpoint is never replaced by one of the same name.
    folder = checkpoints / f"epoch-{progress.epoch:04d}-step-{progress.step:08d}"

    def write(draft: Path) -> None:
        write_tensors(draft / MODEL, state)
        write_tensors(draft / OPTIMIZER, moments)
        (draft / STATE).write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")

    publish(folder, write)
    point(checkpoints / "last", folder.name)
    if best:
        point(checkpoints / "best", folder.name)
    kept = {(checkpoints / name).resolve() for name in ("last", "best")}
    for old in checkpoints.glob("epoch-*"):
        if old.resolve() not in kept:
            shutil.rmtree(old)
    return folder


def restore(folder: Path, model: nn.Module, optimizer: Optimizer) -> Progress:
    """Load a checkpoint into a model and its optimizer, bit for bit.

    Raises:
        DamagedFileError: a file is damaged, or belongs to another model.
    """
    load_weights(model, read_tensors(folder), folder)
    parameters = dict(model.named_parameters())
    for key, value in load_file(folder / OPTIMIZER).items():
        name, _, slot = key.rpartition("|")
        parameter = parameters[name]
        like = parameter if value.shape == parameter.shape else value
        optimizer.state[parameter][slot] = torch.empty_like(like).copy_(value)
    return Progress(**json.loads((folder / STATE).read_text(encoding="utf-8")))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file.

    Raises:
        VidsslError: it cannot be written.
    """
    try:
        save_file(_contiguous(tensors), path)
    except SafetensorError as error:
        raise VidsslError(
            f"{path.name} cannot be written: {error}",
            where=str(path.parent.parent),
            hint="make room on the disk",
        ) from error


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read the model's tensors from a checkpoint or an exported model folder.

    Raises:
        DamagedFileError: a file is damaged.
    """
    verify(folder)
    return load_file(folder / MODEL)


def backbone_tensors(folder: Path) -> dict[str, Tensor]:
    """Read the backbone's tensors from a checkpoint.

    Raises:
        DamagedFileError: a file is damaged.
    """
    prefix = "backbone."
    tensors = read_tensors(folder)
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def load_weights(model: nn.Module, tensors: Mapping[str, Tensor], source: Path) -> None:
    """Copy tensors into a model whose names and shapes are exactly theirs.

    Raises:
        DamagedFileError: a tensor is missing, superfluous or of another shape; nothing was loaded.
    """
    own = model.state_dict()
    kinds = [
        [f"{name} is missing" for name in sorted(own.keys() - tensors.keys())],
        [f"{name} is superfluous" for name in sorted(tensors.keys() - own.keys())],
        [
            f"{name} is {tuple(tensors[name].shape)}, not {tuple(own[name].shape)}"
            for name in sorted(own.keys() & tensors.keys())
            if tensors[name].shape != own[name].shape
        ],
    ]
    if count := sum(map(len, kinds)):
        named = [problem for kind in kinds for problem in kind[:3]]
        rest = [f"and {count - len(named)} more"] if count > len(named) else []
        raise DamagedFileError(
            f"{count} of {len(own.keys() | tensors.keys())} tensors in {source} do not fit the "
            f"network: {'; '.join(named + rest)}",
            where=str(source),
            hint="the weights were made by another backbone, or another version of it",
        )
    model.load_state_dict(tensors)


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors into the plain layout that safetensors stores, each with its own memory."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu()
        for name, tensor in tensors.items()
    }


def _optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}|{slot}": value
        for parameter, slots in optimizer.state.items()
        for slot, value in slots.items()
        if value is not None
    }
