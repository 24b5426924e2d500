"""Options of `health`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Pool


class Health(EvaluatorOptions):
    """Is the representation collapsed, is it merely colour, is it that of random weights?

    Needs neither labels nor splits.
    """

    name: Literal["health"]
    videos: Annotated[int, Field(ge=3)] = 2000
    """Most videos to look at, evenly spaced among those given."""
    clips: Annotated[int, Field(ge=2)] | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    tap: str | None = None
    """Layer that is looked at; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    neighbours: PositiveInt = 10
    """Nearest videos that are compared between representations; at most half of the others."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.health import HealthEvaluator

        return HealthEvaluator(
            self.videos, self.neighbours, clips=self.clips, tap=self.tap, pool=self.pool
        )
