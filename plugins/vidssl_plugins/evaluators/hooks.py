"""The menu of evaluation protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.hooks import EvaluatorOptions, Pool, hookimpl
from vidssl_plugins.evaluators.hooks_retrieval import Health, Pretext, Retrieval

if TYPE_CHECKING:
    from vidssl_cli.hooks import Evaluator


class Linear(EvaluatorOptions):
    """Logistic regression on frozen features: how easily classes can be read off.

    Features of a video's clips are averaged and standardised by the training videos' mean and
    deviation. The penalty is chosen by cross-validation on the training videos.
    """

    name: Literal["linear"]
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    tap: str | None = None
    """Layer that is read; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    penalties: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1e-3, 1e-2, 0.1, 1, 10)
    """Inverse strengths of the L2 penalty to choose from (scikit-learn's C)."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.linear import LinearEvaluator

        return LinearEvaluator(self)


@hookimpl
def vidssl_evaluators() -> list[type[EvaluatorOptions]]:
    """Offer the built-in evaluation protocols."""
    return [Health, Linear, Pretext, Retrieval]
