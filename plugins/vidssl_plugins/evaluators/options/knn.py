"""Options of `knn`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import Frozen


class KNN(Frozen):
    """The nearest training videos vote, by cosine; with one neighbour it is retrieval's top1."""

    name: Literal["knn"]
    neighbours: PositiveInt = 1
    """How many vote; between equal counts the nearest decides."""
    temperature: PositiveFloat | None = None
    """Every neighbour has one vote, or exp(cosine / temperature) votes (Wu et al. 2018, section
    3.4, with 0.07)."""
    standardise: bool | None = None
    """Whether to standardise by the training videos' mean and deviation; the recipe's
    evaluation.standardise if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.knn import KNNEvaluator

        return KNNEvaluator(self, self.neighbours, self.temperature, self.standardise)
