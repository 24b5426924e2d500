"""Clips that follow one another (clip order prediction, VCOP, Xu et al. 2019)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import Short


class ClipOrderSampler(ShortVideoSampler):
    """Plans n clips with a gap of constant length between them, in the order of time."""

    def __init__(self, clips: int, frames: int, stride: int, gap: int, short_video: Short) -> None:
        self.frames, self.views = frames, clips
        span = (frames - 1) * stride + 1
        starts = np.arange(clips, dtype=np.int64) * (span + gap)
        self.clips = starts[:, None] + stride * np.arange(frames)
        """(V, T) frame numbers from the first frame of the first clip."""
        needed = int(self.clips[-1, -1]) + 1
        self.short = ShortVideos(short_video, needed, least=needed)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the clips, with the rank of an order to show them in as label."""
        length = self.short.length(video)
        start = draw("start").integers(length - int(self.clips[-1, -1]))
        views = (View(self.short.fold(start + clip, video)) for clip in self.clips)
        order = draw("permutation").integers(math.factorial(self.views))
        return ClipPlan(tuple(views), {"permutation": np.array(order)})
