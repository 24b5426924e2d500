"""Options of `still`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import Probe, TestWindows


class Still(TestWindows, Probe):
    """Dynamics against single frames: classification of clips, and of one frame that is repeated.

    What is left on still clips does not come from motion. Jenni, Meishvili, Favaro 2020,
    section 4.
    """

    name: Literal["still"]
    clips: PositiveInt | None = None
    """Evenly spaced clips of a video; the recipe's evaluation.clips if not given."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.still import StillEvaluator

        return StillEvaluator(self, self.clips, self.windows, self.hop)
