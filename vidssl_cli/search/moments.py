"""Moments of a video that are similar to a query: its clips are compared in their order.

Letters: N clips of the query, M clips of a video, D features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEP = 0.25
"""Share of the way from one clip to the next by which the query is moved."""
_ROUNDING = 1e-3
"""Seconds that spans of single precision may err."""
_LEAST = 1e-6
"""Squared length from which an interpolated feature has a direction."""


@dataclass(frozen=True)
class Span:
    """A part of a video."""

    start: float
    """In seconds."""
    end: float
    score: float
    """Mean cosine of the query's clips and what the video shows at their times."""


def find_moments(
    query: NDArray[np.floating],
    query_spans: NDArray[np.floating],
    clips: NDArray[np.floating],
    spans: NDArray[np.floating],
) -> Iterator[Span]:
    """Find where a video is similar to a query, best first.

    The query is laid over the video at every start; between two clips of the video that touch,
    features are interpolated, and of two that do not the nearer one is taken. Moments that overlap
    a better one by more than half are left out.

    Args:
        query: (N, D) features of its clips, of length 1.
        query_spans: (N, 2) start and end of each in seconds; both ascend.
        clips: (M, D) features of the clips of a video, of length 1.
        spans: (M, 2) start and end of each in seconds; both ascend.
    """
    middles, numbers = spans.mean(1, dtype=np.float64), np.arange(len(spans))
    offsets = query_spans.mean(1, dtype=np.float64) - query_spans.min()
    steps = np.arange(0, numbers[-1] + _STEP / 2, _STEP)
    starts = np.interp(steps, numbers, middles) - offsets[0]
    fits = starts + offsets[-1] <= middles[-1] + _ROUNDING
    fits[0] = True  # a query may be longer than the video
    starts = starts[fits]
    places = np.interp(starts[:, None] + offsets, middles, numbers)
    before = np.floor(places).astype(np.int64)
    after, share = np.minimum(before + 1, numbers[-1]), places - before
    apart = spans[after, 0] > spans[before, 1] + _ROUNDING
    share[apart] = np.round(share[apart])
    kept = _nearest(before + share, places)
    starts, before, after, share = starts[kept], before[kept], after[kept], share[kept]
    cosines, asked = query @ clips.T, np.arange(len(query))
    products = (1 - share) * cosines[asked, before] + share * cosines[asked, after]
    alike = np.append((clips[:-1] * clips[1:]).sum(1), 1.0)[before]
    squares = (1 - share) ** 2 + share**2 + 2 * share * (1 - share) * alike
    scores = (products / np.sqrt(np.maximum(squares, _LEAST))).mean(1)
    length = float(np.ptp(query_spans))
    while np.isfinite(scores).any():
        best = int(scores.argmax())
        start = float(starts[best])
        end = min(start + length, float(spans[-1, 1]))
        yield Span(max(start, float(spans[0, 0])), end, float(scores[best]))
        scores[np.abs(starts - start) < max(length / 2, _ROUNDING)] = -np.inf


def _nearest(shown: NDArray[np.floating], places: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return which starts (S,) are kept where several show the same clips: the nearest to them.

    Args:
        shown: (S, N) which clips are compared with those of the query.
        places: (S, N) what they stand for.
    """
    order = np.argsort(np.abs(shown - places).sum(1), kind="stable")
    return np.sort(order[np.unique(shown[order], axis=0, return_index=True)[1]])
