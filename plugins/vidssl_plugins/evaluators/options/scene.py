"""Options of `scene`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Pool


class Scene(EvaluatorOptions):
    """Dynamic scenes (YUPENN): every video is classified by a linear SVM trained on all others.

    Takes all labelled videos, of whatever split. Features are averaged over overlapping clips and
    scaled to length 1. Derpanis et al. 2012; Wang's thesis 2020, sections 2.6 and 3.6.3.
    """

    name: Literal["scene"]
    tap: str | None = None
    """Layer that is read; the recipe's evaluation.tap if not given."""
    pool: Pool | None = None
    """How it becomes a vector; the recipe's evaluation.pool if not given."""
    hop: PositiveInt = 8
    """Frames from the beginning of one clip to that of the next."""
    penalty: PositiveFloat = 1
    """Inverse strength of the L2 penalty (scikit-learn's C); not in the papers."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.scene import SceneEvaluator

        return SceneEvaluator(self.tap, self.pool, self.hop, self.penalty)
