"""Options of `few_labels`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import Frozen


class FewLabels(Frozen):
    """MVEB's classification: logistic regression on eight labelled videos of each class.

    https://arxiv.org/abs/2606.14958. As the package ``mteb`` 2.26 does it: features as they are,
    scikit-learn's logistic regression with C = 1 and at most 100 steps, the mean over the draws. A
    class with fewer videos than asked for gives all it has.
    """

    name: Literal["few_labels"]
    shots: PositiveInt = 8
    """Labelled videos of each class."""
    draws: PositiveInt = 10
    """How often they are drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Of the draws."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.few_labels import FewLabelsEvaluator

        return FewLabelsEvaluator(self, self.shots, self.draws, self.seed)
