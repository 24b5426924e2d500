"""Heat maps: values as colours, over frames, side by side and on sheets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SCALE = np.array(
    [
        (0, 0, 4), (27, 12, 65), (74, 12, 107), (120, 28, 109), (165, 44, 96),
        (207, 68, 70), (237, 105, 37), (251, 155, 6), (247, 209, 61), (252, 255, 164),
    ],
    np.float32,
)  # fmt: skip
"""Red, green and blue from 0 to 1: matplotlib's "inferno" at ten places. Its lightness rises
evenly, so that all kinds of colour vision, and grey printers, read it the same way."""
GAP = 4
"""Pixels between pictures."""
ACROSS = 16
"""Frames of a row of a sheet, at most."""


def coloured(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours (…, 3) from 0 to 255 of values (…) from 0 to 1."""
    place = np.clip(values, 0, 1) * (len(SCALE) - 1)
    return np.stack(
        [np.interp(place, np.arange(len(SCALE)), channel) for channel in SCALE.T], -1
    ).astype(np.float32)


def overlay(frames: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lay values (T, H, W) from 0 to 1 over frames (T, H, W, 3).

    Frames become grey, so that all colour is the map's; the higher a value, the more opaque it
    is.
    """
    grey = frames.mean(-1, keepdims=True, dtype=np.float32)
    opacity = 0.25 + 0.45 * np.clip(values, 0, 1)[..., None]
    mixed: NDArray[np.uint8] = np.rint(grey * (1 - opacity) + coloured(values) * opacity).astype(
        np.uint8
    )
    return mixed


def side_by_side(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Join sequences (T, H, W, 3) into one, from left to right."""
    gap = np.zeros((*rows[0].shape[:2], GAP, 3), np.uint8)
    parts = [part for row in rows for part in (row, gap)]
    return np.concatenate(parts[:-1], axis=2)


def sheet(rows: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Join sequences (T, H, W, 3) into one picture, a row for each, from top to bottom.

    Of more than `ACROSS` frames every n-th is shown, with n as small as can be.
    """
    step = -(-len(rows[0]) // ACROSS)
    lines = []
    for row in rows:
        shown = side_by_side([frame[None] for frame in row[::step]])[0]
        lines += [shown, np.zeros((GAP, *shown.shape[1:]), np.uint8)]
    return np.concatenate(lines[:-1])
