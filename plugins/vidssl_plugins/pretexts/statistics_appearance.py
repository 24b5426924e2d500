"""Appearance statistics of clips (Wang, thesis 2020, section 2.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vidssl_plugins.pretexts.statistics_partitions import BLOCKS, cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from vidssl_plugins.pretexts.statistics_partitions import Pattern

OCTANTS = ("blue", "cyan", "magenta", "white", "black", "green", "red", "yellow")
"""Of the colour cube, from 0."""


def octants(pixels: Tensor) -> Tensor:
    """Return the octant (…, T, H, W), from 0, of colours (…, 3, T, H, W) uint8."""
    red, green, blue = (pixels >= 128).long().unbind(-4)
    return green + 2 * red + 4 * (1 - blue)


def constancy(counts: Tensor) -> Tensor:
    """Return how constant histograms (T, …, bins) are over time: (…), from 0 to 1.

    Intersection over union: the sum of the smallest counts over time by that of the largest.
    """
    return counts.amin(0).sum(-1) / counts.amax(0).sum(-1)


def appearance_labels(
    pixels: Tensor,
    patterns: tuple[Pattern, ...],
    *,
    whole: bool = True,
    bins: int = 256,
    joint: bool = False,
) -> Tensor:
    """Return where colours change most and least over time, and which colour dominates there.

    Args:
        pixels: (N, 3, T, H, W) uint8.
        patterns: for each of them come four numbers, all from 1: the block of the least constant
            colours and its dominant octant, then the block of the most constant ones and its.
        whole: append the dominant octant of the clip.
        bins: of the histograms of red, green and blue, whose constancies are averaged.
        joint: one histogram of octants instead of three of channels.

    Returns:
        (N, 4 patterns + 1) float32. Of equals the lowest number is taken.
    """
    return torch.stack([_of_clip(clip, patterns, whole, bins, joint) for clip in pixels])


def _of_clip(
    clip: Tensor, patterns: tuple[Pattern, ...], whole: bool, bins: int, joint: bool
) -> Tensor:
    """Return the labels of one clip (3, T, H, W)."""
    cell, member = cells(patterns, *clip.shape[2:], clip.device)
    colours = _count(octants(clip)[None], cell, len(OCTANTS))
    histograms = colours if joint else _count(clip.long() * bins // 256, cell, bins)
    per_block = torch.einsum("ktcb,cn->tknb", histograms, member)
    constant = constancy(per_block).mean(0)
    dominant = torch.einsum("tcb,cn->nb", colours[0], member).argmax(1)
    numbers = []
    for block_range in _ranges(patterns):
        here = constant[block_range]
        for block in (here.argmin(), here.argmax()):
            numbers += [block + 1, dominant[block_range][block] + 1]
    if whole:
        numbers.append(colours[0].sum((0, 1)).argmax() + 1)
    return torch.stack(numbers).float()


def _count(values: Tensor, cell: Tensor, bins: int) -> Tensor:
    """Count values (K, T, H, W) below ``bins`` in each frame and cell: (K, T, cells, bins)."""
    channels, frames = values.shape[:2]
    number = int(cell.max()) + 1
    groups = torch.arange(channels * frames, device=cell.device).view(channels, frames, 1, 1)
    places = (groups * number + cell) * bins + values
    counts = torch.bincount(places.flatten(), minlength=channels * frames * number * bins)
    return counts.view(channels, frames, number, bins).double()


def _ranges(patterns: Sequence[Pattern]) -> list[slice]:
    """Return where the blocks of each pattern are among those of all."""
    ranges, start = [], 0
    for pattern in patterns:
        ranges.append(slice(start, start + BLOCKS[pattern]))
        start += BLOCKS[pattern]
    return ranges
