"""Two clips of a video, one delayed against the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import Short
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler


def paired_starts(
    delays: NDArray[np.int64], starts: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw where two clips begin, the second so many frames after the first.

    Args:
        delays: (P,), each of less than ``starts`` either way.
        starts: Frames at which a clip may begin, from 0.
        random: Random numbers.

    Returns:
        (P, 2) first frames of both clips; every place that fits is equally likely.
    """
    first = random.integers(np.maximum(0, -delays), starts - np.maximum(0, delays))
    return np.stack([first, first + delays], axis=1)


class SyncSampler(ShortVideoSampler):
    """Draws a delay, and two clips that begin at that distance."""

    views = 2

    def __init__(self, frames: int, reach: int, stride: int, short_video: Short) -> None:
        self.frames, self.reach = frames, reach
        self.clip = stride * np.arange(frames, dtype=np.int64)
        needed = int(self.clip[-1]) + 1 + reach * stride
        self.short = ShortVideos(short_video, needed, least=needed)
        self.stride = stride

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both clips, with the class of the delay as label."""
        delay = draw("delay").integers(-self.reach, self.reach + 1, size=1)
        starts = self.short.length(video) - int(self.clip[-1])
        ((first, second),) = paired_starts(delay * self.stride, starts, draw("start"))
        clips = (self.short.fold(start + self.clip, video) for start in (first, second))
        views = tuple(View(frames, "video", "video", "video") for frames in clips)
        return ClipPlan(views, {"delay": np.asarray(delay[0] + self.reach)})
