"""Options of `pretext`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions


class Pretext(EvaluatorOptions):
    """The run's own tasks on the videos of the test split, which it was not trained on.

    Clips are drawn and varied as in training. Needs no labels, but a run directory.
    """

    name: Literal["pretext"]

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.pretext import PretextEvaluator

        return PretextEvaluator()
