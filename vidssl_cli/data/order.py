"""Which videos make which step: a pure function of the seed and the number of the step.

Training passes over its visits again and again, each time in a new order; visits that do not fill
a batch at the end of a pass are left out of it. A sampler may visit a video several times, and may
draw on a part of the visits in the first stages of training (`clips.Stage`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.clips import Course, Draw, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Sampler
    from vidssl_cli.contract.videos import Video


class Order:
    """The visits of every step of a run."""

    steps: int
    """Of an epoch; the same in every epoch."""

    def __init__(
        self,
        videos: Sequence[Video],
        sampler: Sampler,
        *,
        seed: int,
        batch_videos: int,
        repeats: int = 1,
        epochs: int | None = None,
    ) -> None:
        """Compute the stages and passes of the run.

        Args:
            videos: the data set.
            sampler: says how often an epoch visits a video, and what each stage draws on.
            seed: addresses the order.
            batch_videos: visits of a step.
            repeats: times that an epoch goes over everything.
            epochs: of the run, for samplers that change with its progress; with None there is no
                run, and the order draws on everything.

        Raises:
            UsageError: the visits, or those of a stage, do not fill a batch.
        """
        self.videos = videos
        self.sampler = sampler
        self.seed = seed
        self.batch_videos = batch_videos
        self.repeats = repeats
        self._counts = np.array([sampler.visits(video) for video in videos], np.int64)
        self._video, self._number = self._visits_to_all()
        self.steps = len(self._video) * repeats // batch_videos
        if self.steps == 0:
            raise UsageError(
                f"{counted(len(self._video), 'video')} visited {counted(repeats, 'time')} do not "
                f"fill one batch of {batch_videos}",
                hint="lower train.batch_videos or raise train.repeats",
            )
        self._stages = self._stages_of(epochs)
        self._passes_before = self._count_passes()
        self._shuffled: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))

    def _visits_to_all(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the video of each visit and which visit to it that is, all first visits first."""
        video = np.repeat(np.arange(len(self.videos)), self._counts)
        number = np.arange(len(video)) - (self._counts.cumsum() - self._counts)[video]
        first_to_last = np.lexsort((video, number))
        return video[first_to_last], number[first_to_last]

    def _stages_of(self, epochs: int | None) -> list[Stage]:
        """Return the stages of a run, each of which fills a batch at least."""
        if epochs is None:
            return [Stage(0, np.arange(len(self._video)))]
        course = Course(self.videos, self._video, self._number, self.steps, epochs, self.seed)
        stages = [*self.sampler.stages(course)]
        for stage in stages:
            if self._steps_of_a_pass(stage) == 0:
                raise UsageError(
                    f"the {len(stage.visits)} clips that training draws on from step "
                    f"{stage.first_step} on do not fill one batch of {self.batch_videos}",
                    hint="lower train.batch_videos, or let the sampler begin with more",
                )
        return stages

    def visits(self, step: int) -> tuple[list[int], list[Draw]]:
        """Return the videos of a step, counted from the beginning of the run, and their draws.

        No two visits of a run to a video have the same draw.
        """
        which = max(i for i, stage in enumerate(self._stages) if stage.first_step <= step)
        stage = self._stages[which]
        done, within = divmod(step - stage.first_step, self._steps_of_a_pass(stage))
        number = self._passes_before[which] + done
        shuffled = self._shuffled  # of which another thread may keep another
        if shuffled[0] != number:  # most steps are of the same pass as the one before
            places = Draw(self.seed, number, -1)("order")
            shuffled = number, places.permutation(len(stage.visits) * self.repeats)
            self._shuffled = shuffled
        batch = slice(within * self.batch_videos, (within + 1) * self.batch_videos)
        rounds, rows = np.divmod(shuffled[1][batch], len(stage.visits))
        rows = stage.visits[rows]
        videos = self._video[rows]
        before = (number * self.repeats + rounds) * self._counts[videos] + self._number[rows]
        draws = [
            Draw(self.seed, visit, video)
            for visit, video in zip(before.tolist(), videos.tolist(), strict=True)
        ]
        return videos.tolist(), draws

    def digest(self) -> str:
        """Return a SHA-256 of what the stages draw on, which scores in a file may decide."""
        state = hashlib.sha256()
        for stage in self._stages:
            state.update(f"{stage.first_step} {stage.visits.tolist()}".encode())
        return state.hexdigest()

    def _steps_of_a_pass(self, stage: Stage) -> int:
        return len(stage.visits) * self.repeats // self.batch_videos

    def _count_passes(self) -> list[int]:
        """Return how many passes begin before each stage, so that every pass has its number."""
        before = [0]
        for stage, following in zip(self._stages, self._stages[1:], strict=False):
            length = following.first_step - stage.first_step
            before.append(before[-1] - (-length // self._steps_of_a_pass(stage)))
        return before
