"""Options of `similarity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Evaluator, EvaluatorOptions
from vidssl_cli.contract.study import Pool
from vidssl_plugins.evaluators.options.shared import Taps


class Similarity(EvaluatorOptions):
    """Action similarity (ASLAN): whether two videos show the same action, of one never seen.

    A linear SVM on 12 (dis)similarities of two videos for each layer, trained on all folds of pairs
    but the one that it is tested on. Features are averaged over overlapping clips and scaled to
    length 1. Kliper-Gross, Hassner, Wolf 2012; Wang's thesis 2020, section 3.6.4.
    """

    name: Literal["similarity"]
    pairs: Path
    """Table of pairs (CSV) with the columns first, second, same, fold: docs/evaluation.md."""
    taps: Annotated[Taps, Field(min_length=1)] = ("pool3", "pool4", "pool5:gap")
    """Layers that are compared, each with the pooling below or with its own, ``pool4:gmp``. Most
    networks average pool5 themselves, so that it is a vector, which other poolings refuse."""
    pool: Pool | None = None
    """How those without a pooling of their own become vectors; the recipe's evaluation.pool if not
    given."""
    hop: PositiveInt = 8
    """Frames from the beginning of one clip to that of the next."""
    penalty: PositiveFloat = 1
    """Inverse strength of the L2 penalty (scikit-learn's C); not in the papers."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.similarity import SimilarityEvaluator

        return SimilarityEvaluator(self.pairs, self.taps, self.pool, self.hop, self.penalty)
