"""`vidssl import`: published weights become a model folder that every command takes."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.contract.hooks import BackboneOptions, PublicWeights
from vidssl_cli.contract.registry import offered
from vidssl_cli.model.card import Card
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.public_files import CONFIG, PublicFiles, find
from vidssl_cli.model.weights import SizeLimit, load_weights


@dataclass(frozen=True)
class Imported:
    """What was taken from a file of weights."""

    source: str
    """Who published them, under which name."""
    matched: int
    """Tensors of the backbone: all that it has."""
    left: tuple[str, ...]
    """Names of the tensors that it has no place for."""
    backbone: str
    """Its name."""
    licence: str
    """Of the weights; empty if it is not told with them."""


def import_weights(
    source: Path, options: BackboneOptions | None, out: Path, *, frames: int | None = None
) -> Imported:
    """Turn published weights into an exported model, with the input that they were trained for.

    Args:
        source: safetensors, or what ``torch.save`` made of a state dict; or a folder of such files
            with `config.json`. Nothing in them is executed.
        options: the backbone that a file is for; None leaves that to `config.json`.
        out: the folder to write.
        frames: T, frames of a clip; None for those that the weights were trained with.

    Raises:
        UsageError: there is no such file, ``out`` is not empty, or no backbone has such weights.
        DamagedFileError: a file cannot be read, or a tensor is missing, superfluous or of another
            shape; nothing was written.
    """
    public = _known(options) if options else None
    if options and public:
        chosen = options.model_dump(exclude_unset=True)
        options = type(options).model_validate({**public.options, **chosen})
    files = find(source)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} is not empty", where=str(out), hint="choose another --out")
    tensors = files.read()
    if options is None or public is None:
        options, public = _described(source, files, tensors.keys())
    left = tuple(sorted(name for name in tensors if re.search(public.left, name)))
    renamed = {own_name(name, public): t for name, t in tensors.items() if name not in left}
    own = public.convert(renamed) if public.convert else renamed
    with SizeLimit(own, source):
        backbone = options.build()
    load_weights(cast(nn.Module, backbone), own, source)
    card = Card(
        backbone=options,
        input=Input.model_validate(public.input),
        frames=frames or public.frames,
        evaluation=Evaluation(stride=public.stride),
        seed=0,
        origin=f"{public.source}: {files.origin}",
        licence=files.licence,
    )
    Encoder(card, backbone, torch.device("cpu")).export(out)
    return Imported(public.source, len(own), left, options.name, files.licence)


def own_name(name: str, public: PublicWeights) -> str:
    """Translate the name of a published tensor."""
    for pattern, replacement in public.names:
        name = re.sub(pattern, replacement, name)
    return name


def _known(options: BackboneOptions) -> PublicWeights:
    """Return what is known about files of weights for a backbone."""
    if options.public is None:
        raise UsageError(
            f"no published weights are known for the backbone {options.name}",
            where="--backbone",
            hint=f"they are for {_files_are_for()}; a folder with {CONFIG} needs no --backbone",
        )
    return options.public


def _described(
    source: Path, files: PublicFiles, names: Collection[str]
) -> tuple[BackboneOptions, PublicWeights]:
    """Find the backbone that the `config.json` of a folder asks for."""
    if files.config is None:
        raise UsageError(
            "a file of weights does not say which network it is for",
            where="--backbone",
            hint=f"give one of {_files_are_for()}, or a folder with {CONFIG}",
        )
    where = str(source / CONFIG)
    for name, kind in _backbones().items():
        try:
            if found := kind.described(files.config, names):
                return kind.model_validate({"name": name, **found.options}), found
        except KeyError as error:
            raise DamagedFileError(f"lacks the setting {error}", where=where) from None
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise DamagedFileError(f"cannot be used for {name}: {reason}", where=where) from None
    raise UsageError(
        f"no backbone takes weights of the model_type {files.config.get('model_type')!r}",
        where=where,
    )


def _files_are_for() -> str:
    return ", ".join(name for name, kind in _backbones().items() if kind.public)


def _backbones() -> dict[str, type[BackboneOptions]]:
    return cast("dict[str, type[BackboneOptions]]", offered("backbone"))
