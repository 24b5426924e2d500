"""Clips under temporal transformations (Jenni, Meishvili, Favaro 2020, section 3).

Frame numbers are relative to the first frame of the clip's range until a plan shifts them into
the video. A speed class k plays every 2^k-th frame: its step is 2^k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import ABSENT, ClipPlan, Draw, View
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import AnyShort
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

Kind = Literal["speed", "random", "periodic", "warp"]
Limit = Literal["exact", "released"]
Turn = Literal["printed", "composed", "released"]


def frames_needed(step: int, frames: int, limit: Limit) -> int:
    """Return how long a video must be for a clip of T frames at this step.

    ``exact`` is what the clip covers; ``released`` is the code's stricter T times the step.
    """
    return (frames - 1) * step + 1 if limit == "exact" else frames * step


def periodic(
    turn_at: int, step: int, frames: int, turn: Turn, offset: int = 0
) -> NDArray[np.int64]:
    """Return a clip that runs forwards until a turning point and then backwards.

    Args:
        turn_at: The turning point s, in source frames from the first frame of the clip.
        step: 2^k.
        frames: T.
        turn: ``printed`` is the paper's formula; ``composed`` walks 0..s, s-1, s-2, … and keeps
            every step-th frame, as the paper's text has it, and may repeat a frame at the turn;
            ``released`` goes back the way it came, ``offset`` frames lower.
        offset: for ``released`` alone.

    Returns:
        (T,) frame numbers, the smallest of them 0.
    """
    walk = np.arange(frames, dtype=np.int64) * step
    whole, rest = divmod(turn_at, step)
    if turn == "composed":
        relative = np.where(walk <= turn_at, walk, 2 * turn_at - walk)
    else:
        rest = step - offset if turn == "released" else rest
        relative = np.where(walk <= whole * step, walk, 2 * whole * step - walk + rest)
    lowest: np.int64 = relative.min()
    return relative - lowest


def warped(steps: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the (T,) frame numbers of a clip from its (T - 1,) steps.

    The paper sums the numbers of skipped frames; a step is one more than that.
    """
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(steps, dtype=np.int64)])


@dataclass(eq=False)
class TemporalTransformsSampler(ShortVideoSampler):
    """Draws one clip of each type; the clips of a video are mirrored together or not at all."""

    frames: int
    types: tuple[Kind, ...]
    speeds: tuple[int, ...]
    speed_limit: Limit
    speed_scope: Literal["sample", "batch"]
    turn: Turn
    warp_steps: tuple[int, int]
    short_video: AnyShort

    def __post_init__(self) -> None:
        self.views = len(self.types)
        needed = [frames_needed(2**k, self.frames, self.speed_limit) for k in self.speeds]
        self.short = ShortVideos(self.short_video, needed[-1], least=needed[0])

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan one clip of each type at a speed that the video is long enough for."""
        return self._plan(video, draw, self._draw_speed(self.short.length(video), draw))

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan a batch; under ``speed_scope: batch`` its shortest video limits the one speed."""
        if self.speed_scope == "sample":
            return super().plan_batch(videos, draws)
        shortest = min(map(self.short.length, videos))
        # The first by index, so that the order of a batch does not change its speed.
        speed = self._draw_speed(shortest, min(draws, key=lambda draw: draw.video))
        return [self._plan(video, draw, speed) for video, draw in zip(videos, draws, strict=True)]

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan a part of a batch, alone unless the batch has one speed."""
        if self.speed_scope == "sample":
            return self.plan_batch(videos[part], draws[part])
        return super().plan_part(videos, draws, part)

    def _fits(self, step: int, count: int) -> bool:
        return count >= frames_needed(step, self.frames, self.speed_limit)

    def _draw_speed(self, count: int, draw: Draw) -> int:
        """Draw the rank of a speed that fits."""
        fitting = sum(self._fits(2**speed, count) for speed in self.speeds)
        return int(draw("speed").integers(fitting))

    def _plan(self, video: Video, draw: Draw, speed: int) -> ClipPlan:
        step = 2 ** self.speeds[speed]
        views = []
        for kind in self.types:
            relative = self._relative(kind, step, self.short.length(video, self.frames), draw)
            reach = int(relative.max())
            start = int(draw("start", kind).integers(self.short.length(video, reach + 1) - reach))
            views.append(View(self.short.fold(relative + start, video), flip="video"))
        # Random and warp have no speed of their own.
        speeds = [speed if kind in ("speed", "periodic") else ABSENT for kind in self.types]
        labels = {"transform": np.arange(self.views), "speed": np.array(speeds, dtype=np.int64)}
        return ClipPlan(tuple(views), labels)

    def _relative(self, kind: Kind, step: int, count: int, draw: Draw) -> NDArray[np.int64]:
        """Draw a clip of one type, its smallest frame number 0."""
        match kind:
            case "speed":
                return np.arange(self.frames, dtype=np.int64) * step
            case "random":
                return draw("order").permutation(self.frames)
            case "periodic":
                turn_at = int(draw("turn").integers(2 * step + 1, (self.frames - 3) * step))
                offset = int(draw("offset").integers(step > 1, max(2, step)))
                return periodic(turn_at, step, self.frames, self.turn, offset)
            case "warp":
                return self._warp(count, draw)

    def _warp(self, count: int, draw: Draw) -> NDArray[np.int64]:
        """Draw a warp with steps up to the largest that fits, a power of two in a short video.

        In a video too short for steps up to 4 any T of its frames, in order (released code).
        """
        low, high = self.warp_steps
        limits = [high, *(2**k for k in range(high.bit_length() - 1, 1, -1))]
        limit = next((step for step in limits if self._fits(step, count)), 0)
        if limit < low:
            subset = np.sort(draw("warp").choice(count, self.frames, replace=False))
            return warped(subset[1:] - subset[:-1])
        return warped(draw("warp").integers(low, limit + 1, self.frames - 1))
