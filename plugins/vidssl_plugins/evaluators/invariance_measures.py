"""Cosines of the features of clips: of pairs, within a video, between videos, over distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.metrics import unit

Floats = NDArray[np.floating[Any]]

DISTANCES = 20
"""Parts of the range of relative distances; pairs of clips in one part become one point."""
WIDTH = 0.05
"""Of a bar of a distribution of cosines."""
CONFIDENCE = 1.96
"""Standard errors either side of a mean that cover 95 % of a normal distribution."""


@dataclass(frozen=True)
class Point:
    """A mean over videos, and its 95 % confidence interval."""

    x: float
    mean: float
    low: float
    high: float


def cosines_of_pairs(clips: Floats) -> Floats:
    """Return (P,), the cosine of each row 2p of (2P, D) with the next."""
    units = unit(clips)
    cosines: Floats = (units[::2] * units[1::2]).sum(1)
    return cosines


def within(clips: Floats) -> float:
    """Return the mean cosine of two different clips (clips, D) of a video."""
    first, second = np.triu_indices(len(clips), 1)
    units = unit(clips)
    return float((units @ units.T)[first, second].mean())


def between(clips: Floats, others: Floats) -> float:
    """Return the mean cosine of a clip (clips, D) of one video with one of another."""
    return float(unit(clips).mean(0) @ unit(others).mean(0))


def separation(own: Sequence[float], other: Sequence[float]) -> float:
    """Return how often a cosine of the first kind exceeds one of the second; ties count half.

    They are compared in single precision, so that equal ones tie.
    """
    differences = np.subtract.outer(*(np.asarray(each, np.float32) for each in (own, other)))
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


def over_distance(clips: Sequence[Floats], starts: Sequence[NDArray[np.int64]]) -> list[Point]:
    """Return mean cosines of clips of a video by their distance in time.

    A distance is relative to the largest in its video, so that it ranges from 0 to 1. Every video
    counts once for each part of that range in which it has pairs.

    Args:
        clips: (clips, D) of each video.
        starts: Their first frames, ascending and all different.
    """
    distances: list[list[float]] = [[] for _ in range(DISTANCES)]
    means: list[list[float]] = [[] for _ in range(DISTANCES)]
    for features, begin in zip(clips, starts, strict=True):
        first, second = np.triu_indices(len(begin), 1)
        apart, longest = begin[second] - begin[first], begin[-1] - begin[0]
        units = unit(features)
        cosines = (units @ units.T)[first, second]
        part = -(-DISTANCES * apart // longest) - 1  # rounded up: of whole numbers, exactly
        for number in np.unique(part):
            chosen = part == number
            distances[number].append(float((apart[chosen] / longest).mean()))
            means[number].append(float(cosines[chosen].mean()))
    return [interval(float(np.mean(x)), y) for x, y in zip(distances, means, strict=True) if len(y)]


def interval(x: float, values: Sequence[float]) -> Point:
    """Return the mean of values, and its interval by the standard error (ddof 1)."""
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return Point(x, mean, mean - CONFIDENCE * error, mean + CONFIDENCE * error)


def distribution(cosines: Sequence[float]) -> list[tuple[float, float]]:
    """Return the share of cosines in each bar by its middle, with an empty bar on either side.

    The largest cosine, 1, belongs to the bar below it.
    """
    last = round(1 / WIDTH) - 1
    bars = np.floor(np.round(np.asarray(cosines) / WIDTH, 6)).astype(int).clip(max=last)
    return [
        ((bar + 0.5) * WIDTH, float((bars == bar).mean()))
        for bar in range(int(bars.min()) - 1, int(bars.max()) + 2)
    ]
