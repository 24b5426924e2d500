"""Variants of one clip at a constant stride."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import fitting_stride
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Draw
    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import OneClip


class OneClipSampler(ShortVideoSampler):
    """Plans variants of one clip at a constant stride from anywhere in the video."""

    variants: int
    """How many there are."""

    def __init__(self, options: OneClip) -> None:
        self.frames = options.frames
        self.stride = options.stride
        self.every = options.variants == "all"
        self.views = self.variants if self.every else 1
        span = (self.frames - 1) * self.stride + 1
        self.short = ShortVideos(options.short_video, span, least=self.frames)

    def clip(self, video: Video, draw: Draw) -> NDArray[np.int64]:
        """Draw the (T,) frames of the clip."""
        length = self.short.length(video)
        stride = fitting_stride(length, self.frames, self.stride)
        start = draw("start").integers(length - (self.frames - 1) * stride)
        return self.short.fold(start + stride * np.arange(self.frames, dtype=np.int64), video)

    def planned(self, draw: Draw) -> NDArray[np.int64]:
        """Return the (V,) variants to plan: all, or one at random."""
        if self.every:
            return np.arange(self.variants)
        return draw("variant").integers(self.variants, size=1)
