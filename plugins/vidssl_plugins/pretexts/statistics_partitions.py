"""How frames are cut into blocks (Wang, thesis 2020, section 2.2.2): a grid, rings, and triangles.

Blocks are numbered from 0 here and from 1 in labels. The numbering is the released code's, and
pixels on a diagonal belong to the side triangle, so that each pattern is a partition and mirror
symmetric.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from torch import Tensor

Pattern = Literal[1, 2, 3]
BLOCKS: dict[Pattern, int] = {1: 16, 2: 4, 3: 8}
"""Blocks of each pattern."""


def grid(height: int, width: int) -> Tensor:
    """Return the blocks (H, W) of pattern 1: four rows of four, row after row."""
    rows = torch.arange(height)[:, None] * 4 // height
    return 4 * rows + torch.arange(width) * 4 // width


def rings(height: int, width: int) -> Tensor:
    """Return the blocks (H, W) of pattern 2: nested frames, 0 is the centre."""
    y, x = ((2 * torch.arange(n) + 1) / (2 * n) for n in (height, width))
    border = torch.minimum(torch.minimum(y, 1 - y)[:, None], torch.minimum(x, 1 - x))
    return 3 - (8 * border).long().clamp(max=3)


def triangles(height: int, width: int) -> Tensor:
    """Return the blocks (H, W) of pattern 3: between the centre lines and the diagonals."""
    # Whole numbers, scaled so that the diagonals are |x| = |y|.
    y = ((2 * torch.arange(height) + 1) - height)[:, None] * width
    x = ((2 * torch.arange(width) + 1) - width) * height
    side = x.abs() >= y.abs()
    left = torch.where(side, 0, 1)
    right = torch.where(side, 3, 2)
    return torch.where(x < 0, left, right) + torch.where(y < 0, 0, 4)


_MAPS = {1: grid, 2: rings, 3: triangles}


@functools.lru_cache(maxsize=64)
def partition(pattern: Pattern, height: int, width: int, device: torch.device) -> Tensor:
    """Return the block (H, W) of every pixel, from 0."""
    return _MAPS[pattern](height, width).to(device)


@functools.lru_cache(maxsize=64)
def cells(
    patterns: tuple[Pattern, ...], height: int, width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the common refinement of patterns, so that pixels need to be counted only once.

    Returns:
        (H, W) the cell of every pixel, and (cells, blocks) float64, 1 where a cell is part of a
        block; the blocks of all patterns follow one another.
    """
    maps = [partition(pattern, height, width, device) for pattern in patterns]
    together = torch.zeros(height, width, dtype=torch.int64, device=device)
    for pattern, blocks in zip(patterns, maps, strict=True):
        together = together * BLOCKS[pattern] + blocks
    numbers, cell = torch.unique(together, return_inverse=True)
    member = torch.zeros(len(numbers), 0, dtype=torch.float64, device=device)
    for pattern, blocks in zip(patterns, maps, strict=True):
        of_cell = torch.zeros(len(numbers), dtype=torch.int64, device=device)
        of_cell[cell.flatten()] = blocks.flatten()
        one_hot = torch.nn.functional.one_hot(of_cell, BLOCKS[pattern]).double()
        member = torch.cat([member, one_hot], 1)
    return cell, member
