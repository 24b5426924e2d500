"""Windows at a constant stride from anywhere in the video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_cli.contract.clips import (
    ClipPlan,
    Draw,
    Sampler,
    View,
    fitting_stride,
    known_frames,
    window,
)

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video


class UniformSampler(Sampler):
    """Draws the start of every clip uniformly."""

    def __init__(self, frames: int, stride: int, views: int) -> None:
        self.frames, self.stride, self.views = frames, stride, views

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan V windows of T frames."""
        count = known_frames(video)
        stride = fitting_stride(count, self.frames, self.stride)
        latest = max(0, count - ((self.frames - 1) * stride + 1))
        starts = [int(draw("start", view).integers(latest + 1)) for view in range(self.views)]
        return ClipPlan(tuple(View(window(s, self.frames, stride, count)) for s in starts))
