"""One clip: its frames as the network gets them, their numbers, and its augmentation in words."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.data.colour import NO_CHANGE, affine, steps_of
from vidssl_cli.data.motion_scores import motion_boundaries
from vidssl_cli.media.encode import encode_png
from vidssl_cli.pages.heatmap import coloured
from vidssl_cli.pages.html import data_url
from vidssl_cli.pages.saliency import bounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.config.sections import Input
    from vidssl_cli.contract.clips import View
    from vidssl_cli.data.augment import Parameters

LARGEST = 128
"""Pixels of a frame's side on a page, at most; larger frames are shrunk by a whole factor."""
GAP = 32
"""Width of a frame by that of the gap between two."""
GAIN = 2
"""Factor on differences of frames, most of which are small."""


def row_picture(frames: NDArray[np.uint8], places: int) -> str:
    """Return frames (F, H, W, 3) in one row as the data URL of a picture.

    Args:
        frames: F is T, or less for what lies between frames.
        places: T, frames that the row is wide.
    """
    return data_url(encode_png(_side_by_side(frames, places)), "png")


def follows(frames: NDArray[np.int64]) -> list[str]:
    """Tell how each of the (T,) frame numbers follows the one before.

    Returns:
        ``back``, ``again``, or nothing for a later one.
    """
    signs = np.sign(np.diff(frames, prepend=frames[0] - 1))
    return [{1: "", 0: "again", -1: "back"}[sign] for sign in signs.tolist()]


def pictures(clip: Tensor, settings: Input) -> NDArray[np.uint8]:
    """Return the (T, H, W, 3) pictures of a clip (3, T, S, S); differences lie around mid-grey."""
    values = clip.permute(1, 2, 3, 0).cpu().numpy() * np.array(settings.std, np.float32)
    values = values * GAIN + 0.5 if settings.mode == "residual" else values + settings.mean
    return _shown(values)


def flow_pictures(flow: Tensor) -> tuple[NDArray[np.uint8], float]:
    """Draw optical flow (2, F, S, S), right and down.

    Returns:
        (F, H, W, 3) pictures in the colours of `wheel`, and the length in pixels from which on
        colours are full: the 99th percentile, and not less than 1.
    """
    right, down = flow.cpu().numpy()
    full = max(1.0, float(np.quantile(np.hypot(right, down), 0.99)))
    return _shown(_directions(right / full, down / full)), full


def boundary_pictures(flow: Tensor) -> Sequence[NDArray[np.uint8]]:
    """Draw the motion boundaries of optical flow (2, F, S, S), right and down.

    Returns:
        For either component (F + 1, H, W, 3) pictures in the colours of `heatmap`: of each field,
        on one scale, and of all together, on a scale of its own.
    """
    fields = np.stack([motion_boundaries(field) for field in flow.transpose(0, 1).cpu().numpy()])
    sums = motion_boundaries(flow.sum(1).cpu().numpy())
    parts = [[fields[:, number], sums[None, number]] for number in (0, 1)]
    scaled = [
        np.concatenate([bounded(torch.from_numpy(part)).numpy() for part in both]) for both in parts
    ]
    return [_shown(coloured(values.astype(np.float32)) / 255) for values in scaled]


def wheel(side: int = 64) -> NDArray[np.uint8]:
    """Return a disc (S, S, 4) of the colours of flow that points from its centre to each place."""
    along = (2 * np.arange(side, dtype=np.float32) + 1 - side) / side
    right, down = np.meshgrid(along, along)
    opacity = np.hypot(right, down)[..., None] <= 1
    return _bytes(np.concatenate([_directions(right, down), opacity], -1))


def _directions(right: NDArray[np.floating], down: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return colours (…, 3) from 0 to 1: white for no motion, full where it is 1 or more."""
    thirds = np.arange(3, dtype=np.float32) * (2 * np.pi / 3)
    hue = 0.5 + 0.5 * np.cos(np.arctan2(-down, right)[..., None] - thirds)
    length = np.hypot(right, down).clip(max=1)[..., None]
    colours: NDArray[np.floating] = 1 - length * (1 - hue)
    return colours


def _shown(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return pictures (T, H, W, 3) of values (T, S, S, 3) from 0 to 1, shrunk where large."""
    shrink = ceil(values.shape[1] / LARGEST)
    side = values.shape[1] // shrink
    values = values[:, : side * shrink, : side * shrink]
    values = values.reshape(len(values), side, shrink, side, shrink, 3).mean((2, 4))
    return _bytes(values)


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return values from 0 to 1 as bytes."""
    drawn: NDArray[np.uint8] = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return drawn


def _side_by_side(frames: NDArray[np.uint8], places: int) -> NDArray[np.uint8]:
    """Join (F, H, W, 3) into one picture (H, places (W + G), 4), each followed by a gap.

    Gaps, and places that there are no frames for, are transparent.
    """
    count, height, width, _ = frames.shape
    joined = np.zeros((height, places, width + ceil(width / GAP), 4), np.uint8)
    joined[:, :count, :width, :3] = frames.transpose(1, 0, 2, 3)
    joined[:, :count, :width, 3] = 255
    return joined.reshape(height, -1, 4)


def plot(frames: NDArray[np.int64]) -> list[str]:
    """Return points ``x y`` of a plot, 100 by 50, of frame number against position in the clip."""
    low, high = int(frames.min()), int(frames.max())
    across = (np.arange(len(frames)) + 0.5) * 100 / len(frames)
    up = 50 - 42 * (frames - low) / (high - low) if high > low else np.full(len(frames), 29.0)
    return [f"{x:.1f} {y - 4:.1f}" for x, y in zip(across, up, strict=True)]


def timeline(frames: NDArray[np.int64], count: int) -> list[str]:
    """Return where frames lie in a video of ``count`` frames, in percent of its length."""
    return [f"{(frame + 0.5) * 100 / count:.2f}" for frame in np.unique(frames)]


def motion(frames: NDArray[np.int64], count: int) -> str:
    """Describe where the frames lie and how they follow one another."""
    steps = np.diff(frames)
    low, high = (int(limit) for limit in (steps.min(), steps.max()))
    moves = f"steps of {low}" if low == high else f"steps from {low} to {high}"
    again = int((steps == 0).sum())
    repeated = f", {again} repeated" if again else ""
    where = f"frames {frames.min()}–{frames.max()} of {count}"
    return f"{where}, {moves}{repeated}".replace("-", "\N{MINUS SIGN}")


def describe(parameters: Parameters, view: View, size: tuple[int, int]) -> list[str]:
    """Describe the augmentation of a clip.

    Args:
        parameters: Of this one clip.
        view: The clip; its keys name what it shares with others.
        size: (height, width) of the frames as decoded.
    """

    def shared(key: object) -> str:
        return "" if key is None else f" (shared: {key})"

    top, left, height, width = parameters.box[0].tolist()
    crop = (
        f"crop {height}×{width} at {top} from the top, {left} from the left of {size[0]}×{size[1]}"
    )
    words = [crop + shared(view.crop)]
    words.append(("mirrored" if parameters.flip[0] else "not mirrored") + shared(view.flip))
    if turns := int(parameters.turns[0]) % 4:
        words.append(f"turned by {90 * turns}°")
    if sigma := float(parameters.blur[0]):
        words.append(f"blurred, sigma {sigma:.2g} pixels")
    return [*words, _colours(parameters) + shared(view.colour)]


def _colours(parameters: Parameters) -> str:
    matrix, offset, steps = parameters.matrix[0], parameters.offset[0], parameters.steps[0]
    grey = bool(np.allclose(matrix, matrix[:, :1], atol=1e-6))
    read = steps_of(matrix, offset)
    mixed = not grey and not np.allclose(matrix, affine(read), atol=1e-3)
    if (steps != NO_CHANGE).any():
        read = steps.astype(np.float64)
    words = ["grey"] if grey else []
    names = ("brightness", "contrast") if grey else ("brightness", "contrast", "saturation")
    words += [_range(name, values) for name, values in zip(names, read.T, strict=False)]
    if not grey and np.abs(turn := 360 * read[:, 3]).max() >= 0.5:
        words.append(f"hue turned by {_span(turn, '+.0f')}°")
    if mixed:
        words.append("channels mixed")
    told = [word for word in words if word]
    per_frame = " (frame by frame)" if len(matrix) > 1 else ""
    return ", ".join(told) + per_frame if told else "colours kept"


def _range(name: str, values: NDArray[np.float64]) -> str:
    """Describe by what a quantity is multiplied; nothing for 1."""
    return f"{name} ×{_span(values, '.2f')}" if np.abs(values - 1).max() >= 0.005 else ""


def _span(values: NDArray[np.float64], form: str) -> str:
    low, high = (format(value, form) for value in (values.min(), values.max()))
    span = low if low == high else f"{low} to {high}"
    return span.replace("-", "\N{MINUS SIGN}")
