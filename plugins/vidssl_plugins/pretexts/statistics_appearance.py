"""Appearance statistics of clips (Wang, thesis 2020, section 2.2.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidssl_plugins.pretexts.statistics_partitions import BLOCKS, Pattern, cells

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
    # On a CPU one clip at a time, which fits into its cache; on a GPU fewer calls are faster.
    parts = torch.split(pixels, 1 if pixels.device.type == "cpu" else len(pixels))
    return torch.cat([_labels(part, patterns, whole, bins, joint) for part in parts])


def _labels(
    pixels: Tensor, patterns: tuple[Pattern, ...], whole: bool, bins: int, joint: bool
) -> Tensor:
    cell, member = cells(patterns, *pixels.shape[3:], pixels.device)
    colours = _count(octants(pixels)[:, None], cell, len(member), len(OCTANTS))
    histograms = colours if joint else _count(pixels.long() * bins // 256, cell, len(member), bins)
    per_block = torch.einsum("mktcb,cn->tmknb", histograms, member)
    constant = constancy(per_block).mean(1)
    dominant = torch.einsum("mtcb,cn->mnb", colours[:, 0], member).argmax(2)
    numbers = []
    for block_range in _ranges(patterns):
        here, colour = constant[:, block_range], dominant[:, block_range]
        for block in (here.argmin(1), here.argmax(1)):
            numbers += [block + 1, colour.gather(1, block[:, None]).squeeze(1) + 1]
    if whole:
        numbers.append(colours[:, 0].sum((1, 2)).argmax(1) + 1)
    return torch.stack(numbers, 1).float()


def _count(values: Tensor, cell: Tensor, cells: int, bins: int) -> Tensor:
    """Count values (N, K, T, H, W) below ``bins`` by frame and cell: (N, K, T, cells, bins)."""
    groups = values.shape[:3]
    group = torch.arange(groups.numel(), device=cell.device).view(*groups, 1, 1)
    places = ((group * cells + cell) * bins + values).flatten()
    size = groups.numel() * cells * bins
    if cell.device.type == "cpu":
        counts = torch.bincount(places, minlength=size)
    else:  # of a GPU, bincount would fetch the largest place
        counts = places.new_zeros(size).scatter_add_(
            0, places, places.new_ones(()).expand_as(places)
        )
    return counts.view(*groups, cells, bins).double()


def _ranges(patterns: Sequence[Pattern]) -> list[slice]:
    """Return where the blocks of each pattern are among those of all."""
    ranges, start = [], 0
    for pattern in patterns:
        ranges.append(slice(start, start + BLOCKS[pattern]))
        start += BLOCKS[pattern]
    return ranges
