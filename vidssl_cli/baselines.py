"""Features that nobody learned: what every representation of motion has to beat."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.console import track
from vidssl_cli.decode import read_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.videos import Video


def colour(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (24,) how often eight shades of red, green and blue occur in the middle frame.

    Args:
        frames: (T, H, W, 3).
    """
    shades = frames[len(frames) // 2].reshape(-1, 3) // 32
    return np.concatenate([np.bincount(channel, minlength=8) for channel in shades.T]) / len(shades)


def motion_energy(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (8,) quantiles over time of how much a frame differs from the one before.

    The difference is the mean over pixels of its absolute value, divided by its mean over time,
    since it depends on the contrast of what moves.

    Args:
        frames: (T, H, W, 3), T at least 2.
    """
    energy = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))
    quantiles: NDArray[np.float64] = np.quantile(
        energy / max(energy.mean(), 1e-9), np.linspace(0, 1, 8)
    )
    return quantiles


BASELINES: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.float64]]] = {
    "colour": colour,
    "motion_energy": motion_energy,
}


def describe(videos: Sequence[Video], side: int) -> dict[str, NDArray[np.float64]]:
    """Return (N, D) of every baseline, from all frames of the videos.

    Args:
        videos: With their facts.
        side: Length of the short side at which they are looked at.

    Raises:
        MediaError: A video cannot be read.
    """

    def read(video: Video) -> list[NDArray[np.float64]]:
        assert video.frames is not None, "open_data leaves no fact out"
        frames = read_frames(video, range(video.frames), side)
        return [baseline(frames) for baseline in BASELINES.values()]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = list(track(pool.map(read, videos), "hand-made features", total=len(videos)))
    return {
        name: np.stack(column)
        for name, column in zip(BASELINES, zip(*rows, strict=True), strict=True)
    }
