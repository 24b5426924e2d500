"""Clips at normal and at double speed by dropping frames (SpeedNet, Benaim et al. 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import ShortOrLess


def skipping(
    window: int, rate: float, frames: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Drop each frame of a window with probability 1 - 1/rate, and cut T of those that are left.

    No more are dropped than leave T.

    Returns:
        (T,) ascending frame numbers from the first frame of the window.
    """
    draws = random.random(window)
    dropped = min(int((draws < 1 - 1 / rate).sum()), window - frames)
    left = np.sort(np.argsort(draws)[dropped:])
    start = random.integers(len(left) - frames + 1)
    return left[start : start + frames]


class SpeedinessSampler(ShortVideoSampler):
    """Plans a clip at normal speed and a fast one from one window.

    Args:
        frames: T.
        rates: Smallest and largest mean rate of both.
        window: Length of the window, in clips.
        geometry: Whether both are cropped and mirrored alike.
        short_video: What becomes of videos that are shorter than the window.
    """

    views = 2

    def __init__(
        self,
        frames: int,
        rates: tuple[tuple[float, float], tuple[float, float]],
        *,
        window: float,
        geometry: Literal["shared", "own"],
        short_video: ShortOrLess,
    ) -> None:
        self.frames, self.rates = frames, rates
        self.shared = "video" if geometry == "shared" else None
        fastest = max(highest for _, highest in rates)
        least = math.ceil(fastest * frames)
        self.short = ShortVideos(short_video, math.ceil(window * frames), least)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both clips; whether one is fast is its label."""
        length = self.short.length(video)
        window = min(length, self.short.needed)
        start = draw("start").integers(length - window + 1)
        views = []
        for view, rates in enumerate(self.rates):
            rate = draw("rate", view).uniform(*rates)
            clip = start + skipping(window, rate, self.frames, draw("skip", view))
            views.append(View(self.short.fold(clip, video), crop=self.shared, flip=self.shared))
        return ClipPlan(tuple(views), {"fast": np.arange(2)})
