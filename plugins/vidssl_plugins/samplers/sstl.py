"""Two clips cut from one stretch of a video, each with frames missing (SSTL 2021, section 3.1).

Positions count within the base clip, which is T + e consecutive frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import ClipPlan, Draw, View, known_frames
from vidssl_cli.contract.draws import Draws
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import Short
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler


def distort_rate(
    draws: NDArray[np.float64], rate: float | NDArray[np.float64], most: int
) -> NDArray[np.bool_]:
    """Play faster by dropping frames: each with probability 1 - 1/rate.

    Args:
        draws: (..., n) one number from [0, 1) for each frame.
        rate: (...) at least 1.
        most: frames that may be dropped; later ones are kept.

    Returns:
        (..., n) which frames are kept.
    """
    dropped = draws < 1 - 1 / np.asarray(rate)[..., None]
    kept: NDArray[np.bool_] = ~(dropped & (np.cumsum(dropped, -1) <= most))
    return kept


def drop(kept: NDArray[np.bool_], places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Drop more of the frames that are kept (n, F): those at ``places`` (n, k) among them."""
    rank = np.cumsum(kept, 1) - 1
    left: NDArray[np.bool_] = kept & ~(rank[..., None] == places[:, None]).any(2)
    return left


def cut(kept: NDArray[np.bool_], first: NDArray[np.int64], frames: int) -> NDArray[np.int64]:
    """Return positions (n, T), ascending: T of the frames that are kept (n, F) from a first on."""
    rank = np.cumsum(kept, 1) - 1 - first[:, None]
    return np.nonzero(kept & (rank >= 0) & (rank < frames))[1].reshape(len(kept), frames)


def apart(draws: Draws, counts: NDArray[np.int64], chosen: int) -> NDArray[np.int64]:
    """Choose positions (n, k) below ``counts`` (n,), of each row no two adjacent.

    Every choice is equally likely.
    """
    # Subsets of a shorter list, spread by one place after each member, are exactly these.
    return draws.subsets(counts - chosen + 1, chosen) + np.arange(chosen)


@dataclass(eq=False)
class SSTLSampler(ShortVideoSampler):
    """Draws a base clip, and from it two clips that lack different frames."""

    views = 2

    frames: int
    buffer: int
    dropout: int
    rate: tuple[float, float]
    max_drop: int
    rate_target: Literal["drawn", "realised"]
    spatial_share: Literal["clip", "video"]
    short_video: Short

    def __post_init__(self) -> None:
        self.needed = self.frames + self.buffer
        self.short = ShortVideos(self.short_video, self.needed, least=self.needed)
        self.shared = "video" if self.spatial_share == "video" else None

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the two clips, with the rate of each and where in the video they lie."""
        return self.plan_batch([video], [draw])[0]

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan all clips of a batch at once, each from random numbers of its own."""
        positions, rates = self._cut(draws)
        counts = np.array([known_frames(video) for video in videos])
        lengths = np.array([self.short.length(video) for video in videos])
        starts = Draws.of(draws, "start").integers(lengths - self.needed + 1)
        base = self.short.fold_all(starts[:, None] + np.arange(self.needed), counts[:, None])
        frames = np.take_along_axis(base[:, None], positions, 2)
        middles = np.repeat(base[:, self.needed // 2] / counts, self.views).astype(np.float32)
        keys = self.shared, self.shared, self.shared
        return [
            ClipPlan(tuple(View(view, *keys) for view in views), {"rate": rate, "position": middle})
            for views, rate, middle in zip(
                frames, rates, middles.reshape(-1, self.views), strict=True
            )
        ]

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan a part of a batch by itself."""
        return self.plan_batch(videos[part], draws[part])

    def _cut(self, draws: Sequence[Draw]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw positions (B, V, T) of base clips, ascending, and rates (B, V)."""

        def of(purpose: str) -> Draws:
            return Draws.of(draws, purpose, range(self.views))

        rates = of("rate").uniform(*self.rate)
        numbers = of("distortion").random(self.needed)
        kept = distort_rate(numbers, rates, self.max_drop)
        counts = kept.sum(1)
        if self.rate_target == "realised":
            rates = self.needed / counts
        places = apart(of("dropout"), counts, self.dropout)
        first = of("temporal crop").integers(counts - self.dropout - self.frames + 1)
        positions = cut(drop(kept, places), first, self.frames)
        shape = len(draws), self.views
        return positions.reshape(*shape, -1), rates.reshape(shape).astype(np.float32)
