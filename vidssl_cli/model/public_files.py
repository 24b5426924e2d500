"""Files of published weights: one file, a folder as Hugging Face has them, or a download."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.files.pickle_check import check_weights
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.files.untrusted_text import read_json

CONFIG, ABOUT = "config.json", "README.md"
BY_HAND = (
    "where there is a network, download config.json, README.md and the .safetensors files of the "
    "repository into a folder, and give that in place of --hub"
)


@dataclass(frozen=True)
class PublicFiles:
    """Where published weights are, and what lies next to them."""

    weights: tuple[Path, ...]
    config: Mapping[str, Any] | None
    """The content of `config.json`; None for a file by itself."""
    licence: str
    """What the folder's README.md declares; empty if it says nothing."""

    def read(self) -> dict[str, Tensor]:
        """Read all tensors; nothing in the files is executed.

        Raises:
            DamagedFileError: a file cannot be read, or is no mapping of names to tensors.
        """
        return {name: t for file in self.weights for name, t in _read(file).items()}

    @property
    def origin(self) -> str:
        """Names and digests of the files."""
        return ", ".join(f"{file.name}, SHA-256 {sha256(file)}" for file in self.weights)


def find(source: Path) -> PublicFiles:
    """Find weights in a file, or in a folder with `config.json`.

    Raises:
        UsageError: there are none.
        DamagedFileError: `config.json` is no JSON.
    """
    if source.is_file():
        return PublicFiles((source,), None, "")
    if not source.is_dir():
        raise UsageError(f"there is no file {source}", where=str(source))
    weights = sorted(source.glob("*.safetensors")) or sorted(source.glob("pytorch_model*.bin"))
    missing = [] if weights else ["no *.safetensors"]
    missing += [] if (source / CONFIG).is_file() else [f"no {CONFIG}"]
    if missing:
        raise UsageError(
            f"{source} has {' and '.join(missing)}",
            where=str(source),
            hint="give a folder as transformers saves a model, or a file of weights",
        )
    try:
        config = read_json(source / CONFIG)
    except ValueError as error:
        raise DamagedFileError(f"is no JSON: {error}", where=str(source / CONFIG)) from None
    if not isinstance(config, dict):
        raise DamagedFileError("is no mapping of settings", where=str(source / CONFIG))
    return PublicFiles(tuple(weights), config, _licence(source / ABOUT))


def download(name: str) -> Path:
    """Download weights from the Hugging Face Hub, unless they are in its cache.

    Args:
        name: owner/repository, or owner/repository@revision.

    Returns:
        The folder with its files.

    Raises:
        UsageError: huggingface_hub is not installed, or the repository has no weights.
        VidsslError: the download failed.
    """
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(
            "--hub needs huggingface_hub", hint="install it by `pip install 'vidssl[hub]'`"
        ) from None
    repository, _, revision = name.partition("@")
    for weights in ("*.safetensors", "pytorch_model*.bin"):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=[CONFIG, ABOUT, weights],
                    ignore_patterns=["*/*"],
                )
            )
        except Exception as error:  # of whatever network library it uses
            reason = " ".join(str(error).split())[:300]
            raise VidsslError(
                f"{name} cannot be downloaded: {type(error).__name__}: {reason}",
                where="--hub",
                hint=BY_HAND,
            ) from error
        if any(folder.glob(weights)):
            return folder
    raise UsageError(f"{name} has no *.safetensors and no pytorch_model.bin", where="--hub")


def _licence(about: Path) -> str:
    """Return the licence that the header of a model card declares."""
    if not about.is_file():
        return ""
    with about.open(encoding="utf-8", errors="replace") as file:
        header = re.match(r"---\s*\n(.*?)\n---", file.read(1 << 16), re.DOTALL)
    found = header and re.search(r"^license:\s*[\"']?([\w.+-]+)", header[1], re.MULTILINE)
    return found[1] if found else ""


def _read(file: Path) -> Mapping[str, Tensor]:
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
