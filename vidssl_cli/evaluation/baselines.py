"""Hand-made features, which a learned representation of motion has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.media.decode import read_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.study import Baseline
    from vidssl_cli.contract.videos import Video


def colour(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (24,) histograms of red, green and blue in the middle frame, eight bins each.

    Args:
        frames: (T, H, W, 3).
    """
    shades = frames[len(frames) // 2].reshape(-1, 3) // 32
    return np.concatenate([np.bincount(channel, minlength=8) for channel in shades.T]) / len(shades)


def motion_energy(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (8,) quantiles over time of the difference between neighbouring frames.

    The difference is the mean over pixels of its absolute value, divided by its mean over time,
    since it depends on the contrast of what moves.

    Args:
        frames: (T, H, W, 3).
    """
    energy = _differences(frames).mean((1, 2, 3))
    quantiles: NDArray[np.float64] = np.quantile(
        energy / max(energy.mean(), 1e-9), np.linspace(0, 1, 8)
    )
    return quantiles


def one_frame(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (192,) the middle frame of (T, H, W, 3), as averages over 8 x 8 areas."""
    return _areas(frames[len(frames) // 2]).ravel()


def frame_difference(frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (64,) the mean absolute difference of neighbouring frames in each of 8 x 8 areas.

    The mean is over time and colours.

    Args:
        frames: (T, H, W, 3).
    """
    where: NDArray[np.float64] = _areas(_differences(frames).mean(0)).mean(-1).ravel()
    return where


def _differences(frames: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return (T - 1, H, W, 3) absolute differences of neighbouring frames; zeros for one frame."""
    pairs = frames if len(frames) > 1 else np.repeat(frames, 2, 0)
    differences: NDArray[np.int16] = np.abs(np.diff(pairs.astype(np.int16), axis=0))
    return differences


def _areas(picture: NDArray[Any]) -> NDArray[np.float64]:
    """Average a picture (H, W, 3) over 8 x 8 areas, equal to a pixel: (8, 8, 3)."""
    areas = picture.astype(np.float64)
    for axis in (0, 1):
        edges = np.arange(9) * areas.shape[axis] // 8
        sums = np.add.reduceat(areas, edges[:-1], axis)
        areas = sums / np.diff(edges).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
    return areas


BASELINES: Mapping[Baseline, Callable[[NDArray[np.uint8]], NDArray[np.float64]]] = {
    "colour": colour,
    "one_frame": one_frame,
    "motion_energy": motion_energy,
    "frame_difference": frame_difference,
}


def describe(videos: Sequence[Video], side: int) -> dict[Baseline, NDArray[np.float64]]:
    """Return (N, D) of every baseline, from all frames of the videos.

    Args:
        videos: With their facts.
        side: Short side, in pixels, at which they are decoded.

    Raises:
        MediaError: A video cannot be read.
    """

    def read(video: Video) -> list[NDArray[np.float64]]:
        assert video.frames is not None, "open_data leaves no fact out"
        frames = read_frames(video, range(video.frames), side)
        return [baseline(frames) for baseline in BASELINES.values()]

    with ThreadPoolExecutor(usable_cores()) as pool:
        rows = list(track(pool.map(read, videos), "hand-made features", total=len(videos)))
    return {
        name: np.stack(column)
        for name, column in zip(BASELINES, zip(*rows, strict=True), strict=True)
    }
