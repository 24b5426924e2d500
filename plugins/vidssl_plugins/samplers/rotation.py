"""Clips turned by quarters (3D-RotNet, Jing, Tian 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_plugins.samplers.shared.one_clip import OneClipSampler

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video


class RotationSampler(OneClipSampler):
    """Turns one clip; its turns are cropped, mirrored and coloured alike."""

    variants = 4

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the turns, with their number of quarters as label."""
        frames, turns = self.clip(video, draw), self.planned(draw)
        views = [View(frames, "video", "video", "video", turns=int(turn)) for turn in turns]
        return ClipPlan(tuple(views), {"rotation": turns})
