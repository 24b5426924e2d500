"""Clips whose halves are from two places of a video, in both orders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import Short
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler


def swapped_halves(
    count: int, frames: int, couples: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw two runs of frames that do not overlap, and join them in both orders.

    Args:
        count: Frames of the video.
        frames: T, of a clip.
        couples: How many to draw.
        random: Random numbers. The gap is uniform over what fits, and so is the start, given the
            gap.

    Returns:
        (2 x couples, T): of each couple the earlier run before the later one, then after it.
    """
    gap = random.integers(count - frames + 1, size=couples)
    start = random.integers(count - frames - gap + 1)
    run = np.arange(frames // 2)
    earlier, later = start[:, None] + run, (start + frames // 2 + gap)[:, None] + run
    both = np.stack([np.hstack([earlier, later]), np.hstack([later, earlier])], axis=1)
    return both.reshape(-1, frames)


class BeforeAfterSampler(ShortVideoSampler):
    """Draws two runs of frames, and plays them in both orders."""

    views = 2

    def __init__(self, frames: int, short_video: Short) -> None:
        self.frames = frames
        self.short = ShortVideos(short_video, frames, least=frames)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both clips; which one is in order is the label."""
        clips = swapped_halves(self.short.length(video), self.frames, 1, draw("halves"))
        views = (
            View(self.short.fold(frames, video), "video", "video", "video") for frames in clips
        )
        return ClipPlan(tuple(views), {"order": np.arange(2)})
