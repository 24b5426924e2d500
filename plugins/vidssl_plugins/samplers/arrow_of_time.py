"""Clips forwards and backwards (arrow of time, Wei et al. 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.one_clip import OneClipSampler

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video


class ArrowOfTimeSampler(OneClipSampler):
    """Plays one clip forwards and backwards, cropped, mirrored and coloured alike."""

    variants = 2

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan both directions or one of them, which is the label."""
        frames, directions = self.clip(video, draw), self.planned(draw)
        clips = [frames[::-1].copy() if backward else frames for backward in directions]
        views = tuple(View(clip, "video", "video", "video") for clip in clips)
        return ClipPlan(views, {"direction": directions})
