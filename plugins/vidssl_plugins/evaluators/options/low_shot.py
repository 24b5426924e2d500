"""Options of `low_shot`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import Frozen


class LowShot(Frozen):
    """How accuracy grows with the labels: a classifier on frozen features of a few videos.

    Features are the mean over a video's clips and crops, standardised by all training videos, which
    takes no labels.
    """

    name: Literal["low_shot"]
    classifier: Literal["logistic", "svm", "knn"] = "logistic"
    """What learns from the labels: logistic regression, linear SVM, or the nearest neighbour."""
    shots: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (1, 2, 5, 10)
    """Labelled videos of each class; all there are is always added."""
    draws: PositiveInt = 5
    """How often they are drawn."""
    penalty: PositiveFloat = 0.1
    """C of ``logistic`` and ``svm``: a video or two of a class are too few to choose it by."""
    seed: NonNegativeInt = 0
    """Of the draws."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.low_shot import LowShotEvaluator

        return LowShotEvaluator(
            self,
            classifier=self.classifier,
            shots=self.shots,
            draws=self.draws,
            penalty=self.penalty,
            seed=self.seed,
        )
