"""Options of `svm`."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import Frozen, Penalties


class SVM(Frozen):
    """Linear support vector machines, one for each class against the rest (Jenni and Jin 2021).

    On the mean over a video's clips and crops, standardised by the training videos' mean and
    deviation.
    """

    name: Literal["svm"]
    penalties: Penalties = (1e-4, 1e-3, 1e-2, 0.1, 1)
    """Values of C; cross-validation on the training videos chooses."""
    seed: NonNegativeInt = 0
    """Of the solver."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.svm import SVMEvaluator

        return SVMEvaluator(self, self.penalties, self.seed)
