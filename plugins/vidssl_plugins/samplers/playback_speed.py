"""Clips of one video at several signed speeds (Cho, Kim, Chang, Hwang 2020, section 3.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import ShortOrClamp


def signed_frames(start: int, speed: int, frames: int) -> NDArray[np.int64]:
    """Return the (T,) frame numbers from ``start``; a negative speed descends."""
    return start + speed * np.arange(frames, dtype=np.int64)


class PlaybackSpeedSampler(ShortVideoSampler):
    """Draws a start for every speed; clips of a video may share frames."""

    def __init__(self, frames: int, speeds: tuple[int, ...], short_video: ShortOrClamp) -> None:
        self.frames, self.views = frames, len(speeds)
        self.speeds = speeds
        needed = (frames - 1) * max(map(abs, speeds)) + 1
        self.short = ShortVideos(short_video, needed, least=needed)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the clips by ascending speed, with the rank of an order to show them in as label."""
        views = []
        for view, speed in enumerate(self.speeds):
            reach = (self.frames - 1) * abs(speed)
            start = int(draw("start", view).integers(self.short.length(video, reach + 1) - reach))
            clip = signed_frames(start + (reach if speed < 0 else 0), speed, self.frames)
            views.append(View(self.short.fold(clip, video)))
        order = draw("permutation").integers(math.factorial(self.views))
        return ClipPlan(tuple(views), {"permutation": np.array(order)})
