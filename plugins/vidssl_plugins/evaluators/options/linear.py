"""Options of `linear`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from vidssl_cli.contract.hooks import Evaluator
from vidssl_plugins.evaluators.options.shared import FC, Frozen, Penalties, Taps


class Linear(Frozen):
    """How easily classes can be read off frozen features.

    By logistic regression on the mean over a video's clips, standardised by the training videos'
    mean and deviation; or by new fully connected layers on clips, whose mean softmax decides on
    the video (Jenni et al. 2020, Table 1; there with tap pool5 and pool flatten).
    """

    name: Literal["linear"]
    head: Literal["logistic", "fc"] = "logistic"
    """``logistic`` regression, or ``fc`` for new fully connected layers."""
    penalties: Penalties = (1e-3, 1e-2, 0.1, 1, 10)
    """Inverse strengths of the L2 penalty of ``logistic`` (scikit-learn's C); cross-validation on
    the training videos chooses."""
    fc: FC = FC()
    taps: Taps | None = None
    """Layers to compare by ``logistic`` in one pass over the videos, as a table of their own: names
    of taps, each with the pooling above or with its own, ``conv4:gmp``."""

    @model_validator(mode="after")
    def _applies(self) -> Self:
        if self.taps and self.head == "fc":
            raise ValueError("taps compares layers by head=logistic; for head=fc set tap")
        return self

    def build(self) -> Evaluator:
        """Build the evaluator."""
        from vidssl_plugins.evaluators.linear import LinearEvaluator

        return LinearEvaluator(self, self.head, self.penalties, self.fc, self.taps)
