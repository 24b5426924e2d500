"""Clips that follow one another (clip order prediction, VCOP, Xu et al. 2019)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, Sampler, View
from vidssl_plugins.samplers.short import ShortVideos

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.order import ClipOrder


class ClipOrderSampler(Sampler):
    """Plans n clips with a gap of constant length between them, in the order of time."""

    def __init__(self, options: ClipOrder) -> None:
        self.frames = options.frames
        self.views = options.clips
        span = (options.frames - 1) * options.stride + 1
        starts = np.arange(options.clips, dtype=np.int64) * (span + options.gap)
        self.clips = starts[:, None] + options.stride * np.arange(options.frames)
        """(V, T) frame numbers from the first frame of the first clip."""
        needed = int(self.clips[-1, -1]) + 1
        self.short = ShortVideos(options.short_video, needed, least=needed)

    def rejects(self, video: Video) -> str | None:
        """Reject what the policy for short videos rejects."""
        return self.short.rejects(video)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the clips, with the rank of an order to show them in as label."""
        length = self.short.length(video, self.short.needed)
        start = draw("start").integers(length - int(self.clips[-1, -1]))
        views = (View(self.short.fold(start + clip, video)) for clip in self.clips)
        order = draw("permutation").integers(math.factorial(self.views))
        return ClipPlan(tuple(views), {"permutation": np.array(order)})
