"""Mean and deviation of features that come in parts, and of what is taken out of them again.

Letters: D features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_VARIES = 1e-9
"""Deviation, in terms of the largest value, above which a dimension says something."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of some rows (n, D), in double precision."""

    count: int
    mean: NDArray[np.float64]
    """(D,)"""
    squares: NDArray[np.float64]
    """(D,) sum of the squared deviations from the mean."""
    largest: NDArray[np.float64]
    """(D,) largest absolute value."""

    @classmethod
    def of(cls, rows: NDArray[np.float32]) -> Statistics:
        """Return those of rows (n, D), at least one."""
        mean = rows.mean(0, dtype=np.float64)
        return cls(
            len(rows), mean, np.square(rows - mean).sum(0), np.abs(rows).max(0).astype(float)
        )

    @classmethod
    def joined(cls, parts: Iterable[Statistics]) -> Statistics:
        """Return those of all rows of at least one part (Chan et al. 1979)."""
        parts = list(parts)
        count = sum(part.count for part in parts)
        mean = np.sum([part.mean * (part.count / count) for part in parts], 0)
        squares = np.sum([p.squares + p.count * np.square(p.mean - mean) for p in parts], 0)
        return cls(count, mean, squares, np.max([part.largest for part in parts], 0))

    def without(self, part: Statistics) -> Statistics:
        """Return those of the rows that are not in a part of them; ``largest`` stays."""
        count = self.count - part.count
        mean = self.mean + (self.mean - part.mean) * (part.count / count)
        squares = self.squares - part.squares
        squares -= self.count * part.count / count * np.square(self.mean - part.mean)
        return Statistics(count, mean, np.maximum(squares, 0), self.largest)

    def stacked(self) -> NDArray[np.float64]:
        """Return mean, squares and largest as (3, D)."""
        return np.stack([self.mean, self.squares, self.largest])

    def scaling(self) -> NDArray[np.float64]:
        """Return (2, D) as `vidssl_cli.contract.metrics.scaling` does."""
        deviation = np.sqrt(self.squares / self.count)
        varies = deviation > _VARIES * self.largest
        return np.stack([self.mean, varies / np.where(varies, deviation, 1)])
