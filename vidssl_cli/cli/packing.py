"""Which packed set suits a recipe, and the command that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vidssl_cli.config.recipe import PretrainRecipe

SMALLEST = 128
"""Short side of packed pictures, at least: people look at them too."""


def packed_beside(data: str) -> Path:
    """Return where the packed set of DATA is suggested to be.

    That of a file is beside it, and that of a folder in the working directory: a folder of videos
    may not be ours to write in.
    """
    path = Path(data)
    if path.is_dir():
        return Path(f"{path.name or path.resolve().name}.packed")
    return path.with_suffix(".packed")


def size_words(recipe: PretrainRecipe) -> list[str]:
    """Return the options of `vidssl data pack` that give pictures of a size for a recipe."""
    resize = recipe.input.resize
    if isinstance(resize, int):
        return ["--short-side", str(max(resize, SMALLEST))]
    return ["--size", "{}x{}".format(*resize)]


def pack_words(recipe: PretrainRecipe, data: str, reading: Sequence[str] = ()) -> list[str]:
    """Return the command that packs DATA for a recipe."""
    return ["data", "pack", data, *reading, "--out", str(packed_beside(data)), *size_words(recipe)]
