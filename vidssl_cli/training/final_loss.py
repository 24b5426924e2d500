"""The loss at the end of a run, and whether it still falls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

FEWEST = 5
"""Steps of a tenth from which on it is judged."""


@dataclass(frozen=True)
class FinalLoss:
    """The loss at the end of a run."""

    last: float
    """Mean over the last tenth of the steps."""
    before: float
    """Mean over the tenth before."""
    falls: bool | None
    """Whether the last tenth is lower by more than two standard errors of the difference, each step
    being one measurement; None for tenths of less than `FEWEST` steps."""

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> FinalLoss | None:
        """Read it from the rows of metrics.jsonl; None where they have no two steps."""
        losses = [row["loss"] for row in rows if "loss" in row]
        if len(losses) < 2:
            return None
        tenth = max(len(losses) // 10, 1)
        last, before = losses[-tenth:], losses[-2 * tenth : -tenth]
        falls = None
        if tenth >= FEWEST:
            error = math.sqrt((variance(last) + variance(before)) / tenth)
            falls = fmean(before) - fmean(last) > 2 * error
        return cls(fmean(last), fmean(before), falls)

    def describe(self) -> str:
        """Say it in words."""
        if self.falls is None:
            return f"loss {self.last:.3f} at the end; too few steps to tell whether it still falls"
        verdict = "still falling" if self.falls else "no longer falling"
        return (
            f"loss {self.last:.3f} over the last tenth of the steps, {verdict} "
            f"({self.before:.3f} over the tenth before)"
        )
