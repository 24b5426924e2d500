"""Neighbouring frames: pieces of a video that do not overlap, or clips from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vidssl_cli.contract.clips import ClipPlan, Draw, View, known_frames, window
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video


class ConsecutiveSampler(ShortVideoSampler):
    """Plans one clip of T neighbouring frames."""

    views = 1

    def __init__(self, frames: int, start: Literal["random", "pieces"]) -> None:
        self.frames = frames
        self.pieces = start == "pieces"
        self.short = ShortVideos("skip", frames, least=frames)

    def visits(self, video: Video) -> int:
        """Return how many pieces the video has, or 1 if clips may be anywhere."""
        return known_frames(video) // self.frames if self.pieces else 1

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the piece whose turn it is, or draw where the clip starts."""
        count = known_frames(video)
        if self.pieces:
            start = draw.epoch % self.visits(video) * self.frames
        else:
            start = int(draw("start").integers(count - self.frames + 1))
        return ClipPlan((View(window(start, self.frames, 1, count)),))
