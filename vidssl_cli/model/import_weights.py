"""`vidssl import`: published weights become a model folder that every command takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.contract.hooks import BackboneOptions, PublicWeights
from vidssl_cli.contract.registry import offered
from vidssl_cli.files.pickle_check import check_weights
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.model.card import Card
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.weights import load_weights


@dataclass(frozen=True)
class Imported:
    """What was taken from a file of weights."""

    source: str
    """Who published them, under which name."""
    matched: int
    """Tensors that the backbone took over: all that it has."""
    left: tuple[str, ...]
    """Names of the tensors that it has no place for."""


def import_weights(file: Path, options: BackboneOptions, out: Path) -> Imported:
    """Turn published weights into an exported model, with the input that they were trained for.

    Args:
        file: safetensors, or what ``torch.save`` made of a state dict; nothing in it is executed.
        options: the backbone that the weights are for.
        out: the folder to write.

    Raises:
        UsageError: there is no such file, ``out`` is not empty, or the backbone has no public
            weights.
        DamagedFileError: the file cannot be read, or a tensor is missing, superfluous or of
            another shape; nothing was written.
    """
    public = options.public
    if public is None:
        known = [name for name, kind in offered("backbone").items() if _public(kind)]
        raise UsageError(
            f"no published weights are known for the backbone {options.name}",
            where="--backbone",
            hint=f"they are for {', '.join(known)}",
        )
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} is not empty", where=str(out), hint="choose another --out")
    tensors = _read(file)
    left = tuple(sorted(name for name in tensors if re.search(public.left, name)))
    renamed = {own_name(name, public): t for name, t in tensors.items() if name not in left}
    backbone = options.build()
    load_weights(cast(nn.Module, backbone), renamed, file)
    card = Card(
        backbone=options,
        input=Input.model_validate(public.input),
        frames=public.frames,
        evaluation=Evaluation(),
        seed=0,
        origin=f"{public.source}: {file.name}, SHA-256 {sha256(file)}",
    )
    Encoder(card, backbone, torch.device("cpu")).export(out)
    return Imported(public.source, len(renamed), left)


def own_name(name: str, public: PublicWeights) -> str:
    """Translate the name of a published tensor."""
    for pattern, replacement in public.names:
        name = re.sub(pattern, replacement, name)
    return name


def _public(kind: type) -> bool:
    return issubclass(kind, BackboneOptions) and kind.public is not None


def _read(file: Path) -> Mapping[str, Tensor]:
    if not file.is_file():
        raise UsageError(f"there is no file {file}", where=str(file))
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        check_weights(file)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own unpickler raises whatever damage makes of a file
        reason = " ".join(str(error).split())[:200]
        raise DamagedFileError(
            f"{file} cannot be read as weights: {type(error).__name__}: {reason}",
            where=str(file),
            hint="give safetensors, or a state dict that torch.save wrote",
        ) from error
    if not (isinstance(tensors, Mapping) and all(isinstance(t, Tensor) for t in tensors.values())):
        raise DamagedFileError(
            f"{file} is not a state dict, which maps names to tensors",
            where=str(file),
            hint="save the network's state_dict() alone",
        )
    return tensors
