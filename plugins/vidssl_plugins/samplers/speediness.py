"""Clips at normal and at double speed by dropping frames (SpeedNet, Benaim et al. 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, Sampler, View
from vidssl_plugins.samplers.short import ShortVideos

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.speed import Speediness


def skipping(
    window: int, rate: float, frames: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Drop each frame of a window with probability 1 - 1/rate, and cut T of those that are left.

    No more are dropped than leave T.

    Returns:
        (T,) ascending frame numbers from the first frame of the window.
    """
    luck = random.random(window)
    dropped = min(int((luck < 1 - 1 / rate).sum()), window - frames)
    left = np.sort(np.argsort(luck)[dropped:])
    start = random.integers(len(left) - frames + 1)
    return left[start : start + frames]


class SpeedinessSampler(Sampler):
    """Plans a slow and a fast version of one window."""

    def __init__(self, options: Speediness) -> None:
        self.frames = options.frames
        self.views = 2
        self.rates = (options.normal, options.fast)
        self.shared = "video" if options.geometry == "shared" else None
        needed = math.ceil(options.window * self.frames)
        least = math.ceil(max(options.normal[1], options.fast[1]) * self.frames)
        self.short = ShortVideos(options.short_video, needed, least)

    def rejects(self, video: Video) -> str | None:
        """Reject what the policy for short videos rejects."""
        return self.short.rejects(video)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both versions, with whether they are fast as label."""
        length = self.short.length(video, self.short.needed)
        window = min(length, self.short.needed)
        start = draw("start").integers(length - window + 1)
        views = []
        for view, rates in enumerate(self.rates):
            rate = draw("rate", view).uniform(*rates)
            clip = start + skipping(window, rate, self.frames, draw("skip", view))
            views.append(View(self.short.fold(clip, video), crop=self.shared, flip=self.shared))
        return ClipPlan(tuple(views), {"fast": np.arange(2)})
