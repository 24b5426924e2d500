"""Motion statistics of clips (Wang, thesis 2020, section 2.2.2).

Motion boundaries are derivatives of optical flow: a moving camera adds a constant and leaves none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from vidssl_plugins.pretexts.statistics_partitions import BLOCKS, partition

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_plugins.pretexts.statistics_partitions import Pattern

BINS = 8
"""Of 45 degrees, counter-clockwise from the right."""


def derivatives(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives along x and y of (N, F, H, W), by Prewitt's kernels.

    Correlation, not convolution: a field that grows to the right has a positive x-derivative.
    Borders are duplicated.
    """
    padded = F.pad(fields, (1, 1, 1, 1), mode="replicate")
    columns = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    rows = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
    return columns[..., 2:] - columns[..., :-2], rows[..., 2:, :] - rows[..., :-2, :]


def polar(dx: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """Return magnitude, and angle in degrees from 0 to 360, counter-clockwise on the screen."""
    return torch.hypot(dx, dy), torch.rad2deg(torch.atan2(-dy, dx)) % 360


def orientations(magnitude: Tensor, angle: Tensor, *, soft: bool = False) -> Tensor:
    """Share magnitudes (N, H, W) out to the bins of their angles: (N, 8, H, W).

    Args:
        magnitude: of the vectors.
        angle: in degrees.
        soft: split each magnitude between the two bins whose middles are nearest, instead of
            giving all of it to the bin [45 k, 45 k + 45).
    """
    place = angle / 45 - (0.5 if soft else 0)
    low = place.floor()
    out = magnitude.new_zeros(len(magnitude), BINS, *magnitude.shape[1:])
    upper = magnitude * (place - low) if soft else torch.zeros_like(magnitude)
    # The remainder, because an angle just below 360 may round to it.
    out.scatter_add_(1, (low.long() % BINS)[:, None], (magnitude - upper)[:, None])
    if soft:
        out.scatter_add_(1, ((low.long() + 1) % BINS)[:, None], upper[:, None])
    return out


def motion_labels(
    flow: Tensor, patterns: tuple[Pattern, ...], *, whole: bool = True, soft_bins: bool = False
) -> Tensor:
    """Return where and in which direction motion changes most, and when.

    Args:
        flow: (N, 2, F, H, W) right and down.
        patterns: for each of them come four numbers, p and o of u, then of v: p is the block with
            the largest average magnitude of the summed boundaries, from 1, and o the 45-degree bin
            that has most of it there, from 1.
        whole: append the number of the field, from 1, with most boundaries in u, then in v.
        soft_bins: as in `orientations`.

    Returns:
        (N, 4 patterns + 2) float32; 0 for a component that has no boundaries at all. Of equals the
        lowest number is taken.
    """
    numbers: list[list[Tensor]] = [[] for _ in patterns]
    fastest = []
    for component in flow.unbind(1):
        dx, dy = derivatives(component)
        magnitude, angle = polar(dx.sum(1), dy.sum(1))
        bins = orientations(magnitude, angle, soft=soft_bins)
        moves = magnitude.flatten(1).any(1)
        for pattern, labels in zip(patterns, numbers, strict=True):
            block, orientation = _strongest(bins, pattern)
            labels += [moves * (block + 1), moves * (orientation + 1)]
        of_each = torch.hypot(dx, dy).double().sum((2, 3))
        fastest.append(of_each.any(1) * (of_each.argmax(1) + 1))
    columns = [column for labels in numbers for column in labels] + (fastest if whole else [])
    return torch.stack(columns, 1).float()


def _strongest(bins: Tensor, pattern: Pattern) -> tuple[Tensor, Tensor]:
    """Return the block with the largest average, and its largest bin, both (N,) from 0."""
    blocks = partition(pattern, bins.shape[2], bins.shape[3], bins.device).flatten()
    member = F.one_hot(blocks, BLOCKS[pattern]).double()
    sums = bins.flatten(2).double() @ member  # (N, bins, blocks)
    block = (sums.sum(1) / member.sum(0)).argmax(1)
    return block, sums[torch.arange(len(sums), device=sums.device), :, block].argmax(1)
