"""Moments of a video: neighbouring clips that are similar to a query, as one span."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOUCH = 1e-3
"""Seconds between two clips that count as none, since spans are of single precision."""


@dataclass(frozen=True)
class Span:
    """Consecutive clips of one video."""

    peak: int
    """The most similar of them."""
    first: int
    last: int


def find_spans(
    spans: NDArray[np.floating], scores: NDArray[np.floating], length: float
) -> Iterator[Span]:
    """Divide a video into moments, the most similar one first.

    A moment begins as the most similar clip that is left. While that brings it closer to the
    length of the query, it takes the more similar of its two neighbours, if they touch or overlap.
    Clips that lie in it by more than half are not left afterwards.

    Args:
        spans: (M, 2) start and end of each clip in seconds; both ascend.
        scores: (M,) how similar each is to the query.
        length: Of the query, in seconds.
    """
    starts, ends = spans.T.astype(np.float64)
    left = np.ones(len(scores), bool)
    for peak in np.argsort(-scores, kind="stable").tolist():
        if not left[peak]:
            continue
        first = last = peak
        while True:
            neighbours = []
            if first > 0 and left[first - 1] and ends[first - 1] >= starts[first] - _TOUCH:
                neighbours.append((first - 1, last))
            if last + 1 < len(left) and left[last + 1] and starts[last + 1] <= ends[last] + _TOUCH:
                neighbours.append((first, last + 1))
            wider = max(
                neighbours, key=lambda n: scores[n[0] if n[0] < first else n[1]], default=None
            )
            now = ends[last] - starts[first]
            if not wider or abs(ends[wider[1]] - starts[wider[0]] - length) >= abs(now - length):
                break
            first, last = wider
        inside = np.minimum(ends, ends[last]) - np.maximum(starts, starts[first])
        left &= inside <= (ends - starts) / 2
        left[first : last + 1] = False
        yield Span(peak, first, last)
