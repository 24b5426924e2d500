"""Easy clips first (Wang, thesis 2020, section 3.2, after Hacohen and Weinshall 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ClipPlan, Course, Draw, Sampler, Stage
from vidssl_cli.contract.scores import scores_of
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.curriculum_pacing import Pacing


def ranking(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of scores, the highest first; equals stay in order."""
    return np.argsort(-scores, kind="stable")


class CurriculumSampler(Sampler):
    """Another sampler, and stages of training that draw on more and more of its visits.

    Args:
        sampler: The other sampler.
        pacing: How many visits are drawn on, and when.
        order: What comes first: ``easy`` is the highest scores.
        scores: File of scores; None under ``random``.
        video_score: Which of its scores a video has that is visited once.
    """

    def __init__(
        self,
        sampler: Sampler,
        pacing: Pacing,
        *,
        order: Literal["easy", "hard", "random"],
        scores: Path | None,
        video_score: Literal["middle", "mean"],
    ) -> None:
        self.sampler, self.pacing = sampler, pacing
        self.order, self.scores, self.video_score = order, scores, video_score
        self.views, self.frames = sampler.views, sampler.frames
        self.together = sampler.together

    def rejects(self, video: Video) -> str | None:
        """Reject what the other sampler rejects."""
        return self.sampler.rejects(video)

    def visits(self, video: Video) -> int:
        """Visit a video as often as the other sampler."""
        return self.sampler.visits(video)

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan what the other sampler plans."""
        return self.sampler.plan(video, draw)

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan what the other sampler plans."""
        return self.sampler.plan_batch(videos, draws)

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan what the other sampler plans."""
        return self.sampler.plan_part(videos, draws, part)

    def stages(self, course: Course) -> list[Stage]:
        """Cut training into stages, each of which draws on the first visits of the ranking.

        Raises:
            UsageError: a video has no scores, or has changed since.
        """
        ranked = self._ranking(course)
        return [
            Stage(first_step, ranked[: int(share * len(ranked))])
            for first_step, share in self.pacing.shares(course.epoch_steps, course.epochs)
        ]

    def _ranking(self, course: Course) -> NDArray[np.int64]:
        """Return the visits of an epoch in the order in which stages take them in."""
        if self.order == "random":
            return Draw(course.seed, 0, -1)("curriculum").permutation(len(course.video))
        assert self.scores is not None
        frames, scores = scores_of(self.scores, course.videos)
        counts = np.bincount(course.video, minlength=len(course.videos)).tolist()
        for video, count, of_video in zip(course.videos, counts, scores, strict=True):
            if count > 1 and count != len(of_video):
                raise UsageError(
                    f"{len(of_video)} clips of {frames} frames of {video.path} are scored, and the "
                    f"sampler cuts {count} of {self.frames}",
                    where=str(self.scores),
                    hint=f"score with --frames {self.frames}",
                )
        rows = zip(course.video.tolist(), course.number.tolist(), strict=True)
        values = [self._score(scores[v], n, counts[v]) for v, n in rows]
        ranked = ranking(np.array(values))
        return ranked if self.order == "easy" else ranked[::-1]

    def _score(self, scores: tuple[float, ...], visit: int, visits: int) -> float:
        """Return the score of a piece, or of a video; one too short to be scored has no motion."""
        if visits > 1:
            return scores[visit]
        if not scores:
            return 0.0
        if self.video_score == "mean":
            return float(np.mean(scores))
        return scores[len(scores) // 2]
