"""Axes of a chart: the range, the ticks, and where values lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10

FEW = 12
"""Values along an axis that have a tick each, at most."""
_GAP = 26
"""Units of the drawing between ticks of the horizontal axis, at least."""


@dataclass(frozen=True)
class Axis:
    """A range of values and the part of the drawing that shows it."""

    low: float
    high: float
    start: float
    """Units of the drawing at which ``low`` lies."""
    end: float
    ticks: Sequence[float]
    is_logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies, in units of the drawing."""
        low, high = self.low, self.high
        if self.is_logarithmic:
            low, high, value = log10(low), log10(high), log10(value)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def horizontal_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis from the lowest to the highest value.

    Few values have a tick each, on a logarithmic axis where they span more than a factor of ten and
    are not evenly spaced.
    """
    marks = sorted(set(values))
    low, high = marks[0], marks[-1]
    if _same(low, high):
        margin = max(1.0, abs(low))
        return Axis(low - margin, high + margin, start, end, marks[:1])
    if len(marks) <= FEW:
        gaps = [b - a for a, b in pairwise(marks)]
        is_even = max(gaps) <= 2 * min(gaps)
        axis = Axis(low, high, start, end, marks, low > 0 and high / low > 10 and not is_even)
        if all(axis.at(b) - axis.at(a) >= _GAP for a, b in pairwise(marks)):
            return axis
    step = _step(low, high)
    ticks = [number * step for number in range(ceil(low / step), floor(high / step) + 1)]
    return Axis(low, high, start, end, ticks)


def vertical_axis(values: Sequence[float], start: float, end: float) -> Axis:
    """Return an axis that ends at round numbers, and begins at 0 unless that is far away."""
    low, high = min(values), max(values)
    if _same(low, high):
        low, high = min(low, 0.0), max(high, 0.0) or float(low >= 0)
    elif 0 < low < high / 2:
        low = 0.0
    step = _step(low, high)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def _same(low: float, high: float) -> bool:
    """Tell whether two numbers are too close for ticks between them."""
    return high - low <= max(1e-9 * max(abs(low), abs(high)), 1e-300)


def _step(low: float, high: float) -> float:
    """Return the distance of about five round numbers: 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power: float = 10.0 ** floor(log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
