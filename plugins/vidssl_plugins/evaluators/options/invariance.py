"""Options of `invariance`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Pool


class Invariance(EvaluatorOptions):
    """How alike clips of a video are: under temporal augmentation, and over distance in time.

    SSTL (ICLR 2021 submission), figures 1 and 2. Needs neither labels nor splits.
    """

    name: Literal["invariance"]
    strengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (4, 8, 12, 16)
    """Buffers: frames by which the stretch that both clips are cut from is longer than a clip."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 1 / 3
    """Share of the buffer that is dropped from within the stretch, no two frames adjacent, rounded
    down; cropping takes the rest. A third is SSTL's 4 of 12 frames."""
    pairs: PositiveInt = 5
    """Pairs of clips of a video at each strength."""
    clips: Annotated[int, Field(ge=2)] = 40
    """Evenly spaced clips of a video that are compared over distance in time, and with those of
    another video."""
    videos: Annotated[int, Field(ge=2)] = 200
    """Most videos to look at, evenly spaced among those given."""
    stride: PositiveInt | None = None
    """Distance in frames of the video between two frames of a clip, in which strengths count, too;
    the recipe's evaluation.stride, or the first of several, if not given."""
    tap: str | None = None
    """Layer that is compared; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    seed: NonNegativeInt = 0
    """Addresses the random draws of clips and of other videos."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.invariance import InvarianceEvaluator
        from vidssl_plugins.evaluators.invariance_clips import Plan

        plan = Plan(sorted(set(self.strengths)), self.dropout, self.pairs, self.clips, self.seed)
        return InvarianceEvaluator(plan, self.videos, self.stride, self.tap, self.pool)
