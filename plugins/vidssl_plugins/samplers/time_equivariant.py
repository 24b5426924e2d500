"""Couples of videos with one relative transformation (Jenni, Jin 2021, section 3).

A speed class k plays every 2^k-th frame: its step is 2^k, and a clip reaches (T - 1) 2^k frames
beyond its first one. Whether it runs backwards does not change which frames it covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import ClipPlan, Draw, View
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import ShortOrLess
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

BEFORE, AFTER, OVERLAP = range(3)
"""How the first clip of a video lies to the second: the classes of ``order``."""


def order(shift: int, first: int, second: int) -> int:
    """Return how the first of two clips lies to the second, as closed intervals of frames.

    Args:
        shift: Start of the second clip less that of the first.
        first: Reach of the first clip, its last frame less its first.
        second: Reach of the second clip.
    """
    if shift > first:
        return BEFORE
    return AFTER if shift < -second else OVERLAP


@dataclass(frozen=True)
class Relation:
    """What a couple shares: speed ranks and directions of both clips, and the shift of starts."""

    speeds: tuple[int, int]
    backward: tuple[bool, bool]
    shift: int

    def number(self) -> int:
        """Return a number that equal relations share, and no others with speed ranks below 2^8."""
        (p, q), (back_p, back_q) = self.speeds, self.backward
        return ((p << 8 | q) << 2 | back_p << 1 | back_q) << 32 | (self.shift + (1 << 31))


Shifts = Literal["natural", "balanced", "aligned"]


def draw_shift(last: int, first: int, second: int, how: Shifts, draw: Draw) -> int:
    """Draw a shift that two clips can have in a video whose last frame is ``last``.

    Args:
        last: Last frame of the shorter video.
        first: Reach of the first clip, at most ``last``.
        second: Reach of the second clip, at most ``last``.
        how: ``natural``, ``balanced``, or ``aligned`` for none.
        draw: Random numbers.
    """
    if how == "aligned":
        return 0
    random = draw("shift")
    if how == "natural":
        return int(random.integers(last - second + 1) - random.integers(last - first + 1))
    lowest, highest = first - last, last - second
    ranges = {
        BEFORE: (first + 1, highest),
        AFTER: (lowest, -second - 1),
        OVERLAP: (max(lowest, -second), min(highest, first)),
    }
    possible = [limits for limits in ranges.values() if limits[0] <= limits[1]]
    low, high = possible[random.integers(len(possible))]
    return int(random.integers(low, high + 1))


@dataclass(eq=False)
class TimeEquivariantSampler(ShortVideoSampler):
    """Plans two clips of each video, each once or twice; consecutive videos make a couple.

    Videos at the end of a batch that do not fill a couple make one of their own, down to a single
    video, which is only a negative in the contrast between couples.
    """

    frames: int
    speeds: tuple[int, ...]
    backward: float
    equivariance: Literal["temporal", "spatial", "both", "none"]
    relation: Shifts
    copies: int
    coupling: int
    short_video: ShortOrLess

    def __post_init__(self) -> None:
        self.views = 2 * self.copies
        self.together = 1 if self.equivariance == "none" else self.coupling
        reaches = [self._reach(rank) for rank in range(len(self.speeds))]
        self.short = ShortVideos(self.short_video, reaches[-1] + 1, reaches[0] + 1)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan a video that is a couple by itself."""
        return self._couple([video], [draw], 0)[0]

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan a batch couple by couple."""
        return self.plan_part(videos, draws, slice(None))

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan a part of a batch, whose couples have the numbers that they have in the batch."""
        size = self.together
        first, last, _ = part.indices(len(videos))
        starts = range(first, last, size)
        couples = (
            self._couple(videos[start : start + size], draws[start : start + size], start // size)
            for start in starts
        )
        return [plan for couple in couples for plan in couple]

    def _couple(
        self, videos: Sequence[Video], draws: Sequence[Draw], number: int
    ) -> list[ClipPlan]:
        """Plan the videos of one couple, whose number in the batch is given."""
        kind = self.equivariance
        # The first by index, so that the order within a couple changes nothing.
        leader = min(draws, key=lambda draw: (draw.video, draw.epoch))
        geometry = leader if kind in ("spatial", "both") else None
        shortest = min(map(self.short.length, videos))
        shared = self._draw_relation(shortest, leader)
        plans = []
        for video, draw in zip(videos, draws, strict=True):
            relation = self._standstill(video, draw) if kind == "spatial" else shared
            views, labels = self._place(relation, video, draw)
            if kind != "none":
                # Boxes that are drawn from a continuum never agree by accident.
                same = relation.number() if kind == "temporal" else number
                labels |= {"couple": np.array(number), "relation": np.array(same)}
            plans.append(ClipPlan(views, labels, geometry))
        return plans

    def _reach(self, rank: int) -> int:
        """Return the last frame of a clip at a speed less its first."""
        return (self.frames - 1) << self.speeds[rank]

    def _motion(self, count: int, draw: Draw, view: int) -> tuple[int, bool]:
        """Draw the rank of a speed that fits, and whether the clip runs backwards."""
        fitting = sum(self._reach(rank) < count for rank in range(len(self.speeds)))
        backward = draw("direction", view).random() < self.backward
        return int(draw("speed", view).integers(fitting)), bool(backward)

    def _draw_relation(self, count: int, draw: Draw) -> Relation:
        """Draw a relation that fits into a video of ``count`` frames."""
        (p, back_p), (q, back_q) = (self._motion(count, draw, view) for view in (0, 1))
        reaches = self._reach(p), self._reach(q)
        shift = draw_shift(count - 1, *reaches, self.relation, draw)
        return Relation((p, q), (back_p, back_q), shift)

    def _standstill(self, video: Video, draw: Draw) -> Relation:
        """Draw one clip of a video, to be shown twice."""
        rank, backward = self._motion(self.short.length(video), draw, 0)
        return Relation((rank, rank), (backward, backward), 0)

    def _place(
        self, relation: Relation, video: Video, draw: Draw
    ) -> tuple[tuple[View, ...], dict[str, NDArray[np.int64]]]:
        """Draw where in a video the two clips of a relation lie."""
        first, second = (self._reach(rank) for rank in relation.speeds)
        latest = self.short.length(video) - 1 - max(first, relation.shift + second)
        start = int(draw("start").integers(max(0, -relation.shift), latest + 1))
        begins = (start, start + relation.shift)
        views, clips = [], []
        for begin, rank, backward in zip(begins, relation.speeds, relation.backward, strict=True):
            walk = np.arange(self.frames, dtype=np.int64) << self.speeds[rank]
            frames = self.short.fold(begin + walk, video)
            views.append(View(frames[::-1].copy() if backward else frames))
            clips.append((begin << 8 | rank) << 1 | backward)
        labels = {
            "speed": np.tile(relation.speeds, self.copies),
            "direction": np.tile(np.array(relation.backward, dtype=np.int64), self.copies),
            "order": np.array(order(relation.shift, first, second)),
        }
        if self.copies > 1:
            labels["clip"] = np.tile(clips, self.copies)
        return tuple(views * self.copies), labels
