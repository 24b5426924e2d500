"""Clips at different paces (Wang, thesis 2020, chapter 4; Wang, Jiao, Liu 2020, section 3.1).

A pace is p/q in lowest terms: clip frame k shows source frame start + floor(k p / q). Fast clips
have q = 1; slow clips have p = 1, so that every frame is shown q times.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View, known_frames
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import ShortOrClamp


def pace_span(pace: Fraction, frames: int) -> int:
    """Return how many source frames a clip of T frames reaches over."""
    return (frames - 1) * abs(pace.numerator) // pace.denominator + 1


def pace_frames(start: int, pace: Fraction, frames: int, count: int) -> NDArray[np.int64]:
    """Return the (T,) frame numbers of a clip at one pace from ``start`` on.

    Where the next frame would lie past the end of the ``count`` frames, the clip goes on from
    frame 0 at the same pace (released code), as often as needed. A negative pace is the same
    list backwards.
    """
    p, q = abs(pace.numerator), pace.denominator
    steps = np.arange(frames, dtype=np.int64)
    before_end = -(-q * (count - start) // p)  # clip frames until the first end of the video
    in_a_loop = -(-q * count // p)
    forward = np.where(
        steps < before_end, start + steps * p // q, (steps - before_end) % in_a_loop * p // q
    )
    return forward if pace > 0 else forward[::-1].copy()


@dataclass(eq=False)
class PaceSampler(ShortVideoSampler):
    """Draws a pace and a start for each clip."""

    paces: tuple[Fraction, ...]
    direction: Literal["forward", "random"]
    frames: int
    views: int
    pair: Literal["independent", "same"]
    start: Literal["fits", "anywhere"]
    short_video: ShortOrClamp

    def __post_init__(self) -> None:
        self.paces = tuple(sorted(self.paces))
        needed = max(pace_span(pace, self.frames) for pace in self.paces)
        self.short = ShortVideos(self.short_video, needed, least=needed)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the clips, with the rank of each clip's pace as its label."""
        ranks = [self._rank(view, draw) for view in range(self.views)]
        views = (View(self._clip(rank, video, view, draw)) for view, rank in enumerate(ranks))
        return ClipPlan(tuple(views), {"pace": np.array(ranks, dtype=np.int64)})

    def _rank(self, view: int, draw: Draw) -> int:
        generator = draw("pace") if self.pair == "same" else draw("pace", view)
        return int(generator.integers(len(self.paces)))

    def _clip(self, rank: int, video: Video, view: int, draw: Draw) -> NDArray[np.int64]:
        pace, count = self.paces[rank], known_frames(video)
        span = pace_span(pace, self.frames)
        clamp = self.short_video == "clamp"
        latest = max(0, count - span) if clamp else count - span
        if latest < 0 or self.start == "anywhere":
            latest = count - 1
        start = int(draw("start", view).integers(latest + 1))
        # Planned in a video that is long enough, a clip does not loop.
        end = start + span if clamp else count
        frames = self.short.fold(pace_frames(start, pace, self.frames, end), video)
        if self.direction == "random" and draw("direction", view).integers(2):
            frames = frames[::-1].copy()
        return frames
