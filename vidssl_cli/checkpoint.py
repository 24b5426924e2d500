"""Checkpoints: tensors in safetensors, the rest in JSON, all under a SHA-256 manifest.

    checkpoints/epoch-0018-step-00000375/
        model.safetensors  optimizer.safetensors  state.json  manifest.json
    checkpoints/last    a link to the newest
    checkpoints/best    a link to the best one

A checkpoint appears whole or not at all, and no byte of it is parsed before its digest was checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidssl_cli.base.errors import DamagedFileError, VidsslError
from vidssl_cli.files.atomic import point, sweep
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.sealed_folder import discard, held, publish, verify
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.finite import few, not_finite
from vidssl_cli.runs import checkpoint_of

if TYPE_CHECKING:
    from torch.optim import Optimizer

T = TypeVar("T")

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
    best_checkpoint: str | None = None
    """Name of the checkpoint that has it."""
    skipped: int = 0
    """Steps that were not taken for want of a finite loss, over all epochs."""
    epoch_skipped: int = 0
    """Those of the epoch under way."""


def save(
    checkpoints: Path, model: nn.Module, optimizer: Optimizer, progress: Progress, *, best: bool
) -> Path:
    """Write a checkpoint, make it the last (and the best), and delete those that are neither.

    The link ``last`` decides; `tidy` makes up for whatever a process that is killed leaves undone.

    Raises:
        VidsslError: a number in it is not finite; earlier checkpoints are untouched.
        NoRoomError, OSError: it could not be written; earlier checkpoints are untouched.
    """
    weights, slots = model.state_dict(), _optimizer_tensors(model, optimizer)
    if broken := not_finite([*weights.items(), *slots.items()]):
        raise VidsslError(
            f"step {progress.step} left numbers that are not finite in {few(broken)}",
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


def require_room_for(checkpoints: Path, model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse to train what could not be saved: the last checkpoint, the best, and a new one.

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
            like = parameter if value.shape == parameter.shape else value
            optimizer.state[parameter][slot] = torch.empty_like(like).copy_(value)
        return TypeAdapter(Progress).validate_python(read_json(folder / STATE))


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a file.

    Raises:
        VidsslError: it cannot be written.
    """
    try:
        save_file(_contiguous(tensors), path)
    except SafetensorError as error:
        raise VidsslError(f"{path.name} cannot be written: {error}", where=str(path)) from error


def read_newest(run: Path, name: str, read: Callable[[Path], T]) -> tuple[Path, T]:
    """Read a run's checkpoint ``last`` or ``best``, also while it is trained.

    Args:
        run: its directory.
        name: of the checkpoint.
        read: reads its folder; once more where another checkpoint has taken its place meanwhile.

    Returns:
        The folder, and what was read.

    Raises:
        UsageError: it is not a run directory, or has no such checkpoint yet.
        DamagedFileError: a file is damaged.
    """
    while True:
        folder = checkpoint_of(run, name)
        try:
            with held(folder):
                return folder, read(folder)
        except (DamagedFileError, FileNotFoundError):
            if checkpoint_of(run, name) == folder:
                raise


def read_tensors(folder: Path, *also: str) -> dict[str, Tensor]:
    """Read the model's tensors from a checkpoint or an exported model folder.

    Args:
        folder: either.
        also: names of other files of it that will be read.

    Raises:
        DamagedFileError: any file of the folder is damaged.
    """
    verify(folder, MODEL, *also)
    with understood(folder / MODEL):
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


class Room(TorchFunctionMode):
    """Lets a network be built that is about as large as its weights, and none larger.

    A file that describes a network can ask for more than all memory; weights are as large as they
    are. What is built inside may take four times as much.

    Raises:
        DamagedFileError: A network asks for more.
    """

    def __init__(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Measure the weights of what `source` describes."""
        super().__init__()
        self._left = 4 * sum(tensor.numel() for tensor in tensors.values()) + (1 << 24)
        self._source = source

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Count the numbers of tensors before they are made."""
        if function in (torch.empty, torch.ones, torch.zeros) and args:
            self._left -= prod(args if isinstance(args[0], int) else args[0])
            if self._left < 0:
                raise DamagedFileError(
                    "describes a network that is much larger than its weights",
                    where=str(self._source),
                )
        return function(*args, **(kwargs or {}))


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
