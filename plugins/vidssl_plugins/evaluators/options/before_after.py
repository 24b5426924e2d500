"""Options of `before_after`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import TimeProbe


class BeforeAfter(TimeProbe):
    """Order in time: whether the two halves of a clip, from two places of a video, are swapped.

    Both orders of every couple of halves are shown. Needs no labels. Jenni, Meishvili, Favaro 2020,
    section 4, table 3.
    """

    name: Literal["before_after"]
    pairs: PositiveInt = 10
    """Couples of halves of a video; where all layers learn, of a test video."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.before_after import BeforeAfterEvaluator

        return BeforeAfterEvaluator(self, self.pairs)
