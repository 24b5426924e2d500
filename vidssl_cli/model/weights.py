"""Weights on disk: safetensors, checked before they are parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vidssl_cli.base.errors import DamagedFileError, VidsslError
from vidssl_cli.files.sealed_folder import held, verify
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.run_directory import find_checkpoint

T = TypeVar("T")
MODEL = "model.safetensors"


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
    """Read a run's checkpoint ``last`` or ``best``, even while training replaces it.

    Args:
        run: its directory.
        name: of the checkpoint.
        read: reads its folder; called again if another checkpoint has taken its place meanwhile.

    Returns:
        The folder, and what was read.

    Raises:
        UsageError: it is not a run directory, or has no such checkpoint yet.
        DamagedFileError: a file is damaged.
    """
    while True:
        folder = find_checkpoint(run, name)
        try:
            with held(folder):
                return folder, read(folder)
        except (DamagedFileError, FileNotFoundError):
            if find_checkpoint(run, name) == folder:
                raise


def read_tensors(folder: Path, *also: str) -> dict[str, Tensor]:
    """Read the model's tensors from a checkpoint or an exported model folder.

    Args:
        folder: either.
        also: other files of the folder that the caller reads, to be checked as well.

    Raises:
        DamagedFileError: any file of the folder is damaged.
    """
    verify(folder, MODEL, *also)
    return read_checked(folder / MODEL)


def read_checked(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a file that has been checked.

    Raises:
        DamagedFileError: it is not what `write_tensors` writes.
    """
    with understood(file):
        return load_file(file)


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of one part of a checkpoint, named without the prefix of the part."""
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


class SizeLimit(TorchFunctionMode):
    """While entered, refuses to build a network that is much larger than its weights.

    A damaged or malicious description can ask for more than all memory; the weights that come with
    it say how much is honest. What is built inside may take four times as much.

    Raises:
        DamagedFileError: a network asks for more.
    """

    def __init__(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        """Take the limit from the weights of what `source` describes."""
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
    """Copy tensors to the CPU in the layout that safetensors stores, each with its own memory."""
    return {
        name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu()
        for name, tensor in tensors.items()
    }
