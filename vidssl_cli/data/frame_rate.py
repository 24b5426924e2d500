"""Seconds and frames of a video, and videos at a common frame rate.

The papers count frames as they are stored, and so does vidssl unless a recipe's ``input.fps`` says
otherwise. Then samplers see a video of as many frames as it would have at that rate, and each of
these frames is the stored one that is shown at its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Course, Draw, Sampler, Stage, known_frames
from vidssl_cli.media.timeline import CUSTOMARY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.config.sections import Input
    from vidssl_cli.contract.hooks import SamplerOptions
    from vidssl_cli.contract.videos import Video


def frame_rate(video: Video) -> float:
    """Return frames per second on average, or the customary 25 where the file does not say."""
    return video.fps or CUSTOMARY


def seconds_at(video: Video, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the seconds at which frames begin; the frame after the last is the end."""
    if not video.times:
        return frames / frame_rate(video)
    numbers, seconds = zip(*video.times, strict=True)
    found: NDArray[np.float64] = np.interp(frames, numbers, seconds)
    return found


def position_at(video: Video, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numbers of the frames that are shown at these seconds, with fractions."""
    if not video.times:
        return seconds * frame_rate(video)
    numbers, ends = zip(*video.times, strict=True)
    found: NDArray[np.float64] = np.interp(seconds, ends, numbers)
    return found


def at_rate(video: Video, fps: float | None) -> Video:
    """Return the video as it would be at ``fps`` frames a second; with None, as it is."""
    if fps is None:
        return video
    if video.times:
        frames = video.times[-1][1] * fps
    else:
        frames = known_frames(video) * fps / frame_rate(video)
    return replace(video, frames=max(1, round(frames)), fps=fps, times=())


def stored_frames(video: Video, fps: float | None, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the stored frames that stand for frame numbers at ``fps`` frames a second."""
    if fps is None:
        return numbers
    middles = numbers.astype(np.float64) + 0.5
    if video.times:
        positions = position_at(video, middles / fps)
    else:
        positions = middles * (frame_rate(video) / fps)
    shown = np.floor(positions).astype(np.int64)
    inside: NDArray[np.int64] = np.minimum(shown, known_frames(video) - 1)
    return inside


class AtRate(Sampler):
    """Lets a sampler plan at a frame rate, and returns plans in stored frames."""

    def __init__(self, sampler: Sampler, fps: float) -> None:
        self.sampler = sampler
        self.fps = fps
        self.views, self.frames = sampler.views, sampler.frames
        self.together = sampler.together

    def rejects(self, video: Video) -> str | None:
        """Ask the sampler about the video at the frame rate."""
        reason = self.sampler.rejects(at_rate(video, self.fps))
        return reason and f"at {self.fps:g} frames a second: {reason}"

    def visits(self, video: Video) -> int:
        """Visit the video as often as the sampler would at the frame rate."""
        return self.sampler.visits(at_rate(video, self.fps))

    def stages(self, course: Course) -> Sequence[Stage]:
        """Let the sampler lay out its stages at the frame rate."""
        videos = [at_rate(video, self.fps) for video in course.videos]
        return self.sampler.stages(replace(course, videos=videos))

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan one video."""
        return self.plan_batch([video], [draw])[0]

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan a batch at the frame rate."""
        return self.plan_part(videos, draws, slice(None))

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan a part of a batch at the frame rate."""
        plans = self.sampler.plan_part([at_rate(v, self.fps) for v in videos], draws, part)
        return [self._stored(video, plan) for video, plan in zip(videos[part], plans, strict=True)]

    def _stored(self, video: Video, plan: ClipPlan) -> ClipPlan:
        views = tuple(
            replace(view, frames=stored_frames(video, self.fps, view.frames)) for view in plan.views
        )
        return replace(plan, views=views)


def build_sampler(options: SamplerOptions, settings: Input) -> Sampler:
    """Build a recipe's sampler for its input."""
    sampler = options.build()
    return sampler if settings.fps is None else AtRate(sampler, settings.fps)
