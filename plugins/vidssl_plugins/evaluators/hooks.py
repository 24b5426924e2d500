"""The menu of evaluation protocols."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.hooks import EvaluatorOptions, Pool, hookimpl
from vidssl_plugins.evaluators.hooks_datasets import Scene, Similarity
from vidssl_plugins.evaluators.hooks_motion import BeforeAfter, Still, Sync
from vidssl_plugins.evaluators.hooks_supervised import KNN, SVM, Finetune, Linear, LowShot

if TYPE_CHECKING:
    from vidssl_cli.hooks import Evaluator


class Retrieval(EvaluatorOptions):
    """Nearest neighbours by cosine: test videos ask, training videos answer.

    A query is a hit at k if one of its k nearest neighbours has its class. With one neighbour
    this is 1-NN classification.
    """

    name: Literal["retrieval"]
    level: Literal["video", "clip"] = "video"
    """``video`` averages the features of a video's clips (VCOP's code, and most papers since);
    ``clip`` looks up every test clip among all training clips."""
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""
    tap: str | None = None
    """Layer that is compared; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    standardise: bool | None = None
    """Whether to standardise by the training videos' mean and deviation; the recipe's
    evaluation.standardise if not given."""
    topk: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 5, 10, 20, 50)
    """The k to report; the smallest leads."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.retrieval import RetrievalEvaluator

        return RetrievalEvaluator(self)


class Pretext(EvaluatorOptions):
    """The run's own tasks on the videos of the test split, which it was not trained on.

    Clips are drawn and varied as in training. Needs no labels, but a run directory.
    """

    name: Literal["pretext"]

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.pretext import PretextEvaluator

        return PretextEvaluator()


@hookimpl
def vidssl_evaluators() -> list[type[EvaluatorOptions]]:
    """Offer the built-in evaluation protocols."""
    return [
        *(KNN, SVM, Finetune, Linear, LowShot),
        *(BeforeAfter, Still, Sync),
        *(Scene, Similarity),
        *(Pretext, Retrieval),
    ]


@hookimpl
def vidssl_published() -> list[Path]:
    """Offer what papers report of these protocols."""
    return [Path(__file__).parents[1] / "published"]
