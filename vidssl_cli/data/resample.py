"""Cutting and scaling many clips at once on a GPU, each by its own box.

`media.geometry.resampling` makes the matrix of one line on the CPU; here those of all clips are
made on their device, from a handful of numbers each, and reach over whole frames, so that boxes of
different sizes have matrices of one size.
"""

from __future__ import annotations

import torch
from torch import Tensor


def scale_together(
    pictures: Tensor, placed: Tensor, side: int, *, scales: bool, turns: bool, blurs: bool
) -> Tensor:
    """Cut, scale, blur, mirror and turn.

    Args:
        pictures: (N, T, C, H, W) of any type.
        placed: (5, 2, N) float64, for rows and columns of each clip: first pixel of its box, how
            many there are, whether they are reversed, deviation of the blur in pixels of the
            square, and whether rows and columns are swapped.
        side: S, of the square.
        scales: whether any box has another size than the square.
        turns: whether any clip swaps rows and columns.
        blurs: whether any clip is blurred.

    Returns:
        (N, T, C, S, S) float32.
    """
    if scales or blurs:
        out = _resampled(pictures, placed, side, blurs=blurs)
    else:
        out = _picked(pictures, placed, side)
    if turns:
        out = torch.where(placed[4, 0, :, None, None, None, None] > 0, out.mT, out).contiguous()
    return out


def _picked(pictures: Tensor, placed: Tensor, side: int) -> Tensor:
    """Take pixels as they are."""
    first, _, reverse = placed[:3, :, :, None]
    rows, columns = (first + _target(reverse, side)).long()[:, :, None, None]
    count, frames, channels, _, width = pictures.shape
    rows = rows[..., None].expand(count, frames, channels, side, width)
    columns = columns[..., None, :].expand(count, frames, channels, side, side)
    return pictures.gather(3, rows).gather(4, columns).to(torch.float32)


def _target(reverse: Tensor, side: int) -> Tensor:
    """Return the places of a result (…, side) in the order in which they are shown."""
    target = torch.arange(side, dtype=reverse.dtype, device=reverse.device)
    return torch.where(reverse > 0, side - 1 - target, target)


def _resampled(pictures: Tensor, placed: Tensor, side: int, *, blurs: bool) -> Tensor:
    """Multiply with a matrix from the left and one from the right."""
    count, frames, channels, height, width = pictures.shape
    matrices = resampling_matrices(placed.flatten(1), side, max(height, width), blurs=blurs)
    rows, columns = matrices.view(2, count, side, -1)
    across = pictures.flatten(1, 3).to(torch.float32) @ columns[..., :width].mT
    out = rows[:, None, :, :height] @ across.view(count, -1, height, side)
    clips: Tensor = out.view(count, frames, channels, side, side)
    return clips


def resampling_matrices(placed: Tensor, side: int, length: int, *, blurs: bool) -> Tensor:
    """Return (n, side, length) float32: each scales a stretch of a line, then blurs it.

    Args:
        placed: (4 or more, n) float64: first pixel, number of pixels, reversal and deviation, as
            in `scale_together`.
        side: pixels of the result.
        length: of all lines, whatever their stretches.
        blurs: whether any deviation is not 0.
    """
    first, extent, reverse, sigma = placed[:4, :, None, None]
    shown = _target(reverse.squeeze(-1), side)[..., None]
    seen = _target(torch.zeros_like(reverse.squeeze(-1)), side)[..., None] if blurs else shown
    matrix = _scaling(seen, first, extent, side, length)
    if blurs:
        matrix = _blurring(shown, sigma, side) @ matrix
    return matrix.to(torch.float32)


def _scaling(target: Tensor, first: Tensor, extent: Tensor, side: int, length: int) -> Tensor:
    """Interpolate linearly; the triangle widens where it shrinks, so that nothing aliases."""
    scale = extent / side
    pixel = torch.arange(length, dtype=first.dtype, device=first.device) - first
    distance = (pixel + 0.5 - (target + 0.5) * scale).abs() / scale.clamp(min=1)
    weights = (1 - distance).clamp(min=0) * ((pixel >= 0) & (pixel < extent))
    return weights / weights.sum(-1, keepdim=True)


def _blurring(target: Tensor, sigma: Tensor, side: int) -> Tensor:
    """Blur over three deviations to both sides; the border mirrors."""
    sigma = sigma.clamp(min=1e-3)  # which leaves everything as it is
    reach = (3 * sigma).ceil().clamp(max=side - 1)
    source = torch.arange(side, dtype=sigma.dtype, device=sigma.device)

    def kernel(steps: Tensor) -> Tensor:
        return torch.exp(-0.5 * (steps / sigma).square()) * (steps.abs() <= reach)

    last = side - 1
    before, after = kernel(target + source), kernel(2 * last - target - source)
    weights = kernel(target - source) + before * (source > 0) + after * (source < last)
    return weights / weights.sum(-1, keepdim=True)
