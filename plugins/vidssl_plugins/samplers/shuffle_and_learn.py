"""Clips in order and with a shuffled middle (shuffle and learn, Misra et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.one_clip import OneClipSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import OneClip


def shuffled(
    frames: NDArray[np.int64], kept: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Permute the middle of (T,) frames, leaving ``kept`` at either end; never into itself."""
    middle = np.arange(kept, len(frames) - kept)
    order = random.permutation(middle)
    if (order == middle).all():
        order = np.roll(middle, 1)
    mixed = frames.copy()
    mixed[middle] = frames[order]
    return mixed


class ShuffleAndLearnSampler(OneClipSampler):
    """Plays one clip in order and shuffled, cropped, mirrored and coloured alike."""

    variants = 2

    def __init__(self, options: OneClip, kept: int) -> None:
        super().__init__(options)
        self.kept = kept

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both or one of them; whether it is shuffled is the label."""
        frames, labels = self.clip(video, draw), self.planned(draw)
        clips = [shuffled(frames, self.kept, draw("order")) if mix else frames for mix in labels]
        views = tuple(View(clip, "video", "video", "video") for clip in clips)
        return ClipPlan(views, {"shuffled": labels})
