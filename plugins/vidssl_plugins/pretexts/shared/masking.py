"""Which tubelets of a clip are seen and which are masked.

A place is a row and a column; a tubelet is a place at a time. Tubelets are numbered in the order of
time, rows and columns. All clips of a batch have as many tubelets of either kind, so that they
can be stacked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vidssl_cli.base.errors import UsageError

Split = tuple[Tensor, Tensor]
"""Numbers (N, n) of what is seen of each clip, and (N, m) of what is masked."""


def grid_of(clips: Tensor, tubelet: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return how many tubelets clips (N, C, T, H, W) have along time, rows and columns."""
    times, rows, columns = (
        size // part for size, part in zip(clips.shape[2:], tubelet, strict=True)
    )
    return times, rows, columns


def random_places(clips: int, count: int, ratio: float, device: torch.device) -> Split:
    """Mask the share ``ratio`` of ``count`` places, others in each clip; at least one is seen."""
    seen = max(1, round((1 - ratio) * count))
    order = torch.rand(clips, count, device=device).argsort(1)
    return order[:, :seen], order[:, seen:]


def block_places(
    clips: int,
    grid: tuple[int, int],
    blocks: tuple[int, float, tuple[float, float]],
    device: torch.device,
) -> Split:
    """Mask the places of a grid that blocks cover.

    Blocks cover more in some clips than in others, where they overlap less. The number that is
    seen, and the number that is masked, is that of the clip with the fewest; which of the others'
    places are left out is drawn.

    Args:
        clips: N.
        grid: rows and columns.
        blocks: how many of a clip, the share of the places that each covers, and the limits of
            height by width, between which every block has its own.
        device: where the numbers are to be.
    """
    count, area, (narrow, wide) = blocks
    ratio = narrow + (wide - narrow) * torch.rand(clips, count, device=device)
    sides = (area * grid[0] * grid[1] * ratio).sqrt(), (area * grid[0] * grid[1] / ratio).sqrt()
    inside = []
    for length, side in zip(grid, sides, strict=True):
        size = side.round().clamp(1, length)
        first = (torch.rand(clips, count, device=device) * (length - size + 1)).floor()
        place = torch.arange(length, device=device)
        inside.append((place >= first[..., None]) & (place < (first + size)[..., None]))
    covered = (inside[0][..., :, None] & inside[1][..., None, :]).any(1).flatten(1)
    order = (covered + torch.rand(covered.shape, device=device)).argsort(1)
    total = covered.shape[1]
    least, most = torch.stack(covered.sum(1).aminmax()).tolist()
    seen = max(1, total - most)
    return order[:, :seen], order[:, total - min(least, total - seen) :]


def at_all_times(places: Tensor, times: int, count: int) -> Tensor:
    """Return the numbers (N, times x n) of the tubelets at places (N, n) among ``count``."""
    starts = count * torch.arange(times, device=places.device)
    return (starts[:, None] + places[:, None]).flatten(1)


def check_places(grid: Sequence[int]) -> None:
    """Refuse rows and columns of which nothing could be masked.

    Raises:
        UsageError: they are one place.
    """
    if grid[0] * grid[1] < 2:
        raise UsageError(
            "a clip has one tubelet at each time, so that there is nothing to mask",
            where="backbone.tubelet",
            hint="make tubelets smaller, or input.crop larger",
        )
