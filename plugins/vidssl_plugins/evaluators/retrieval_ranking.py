"""A gallery ranked for every query, and what that found.

Letters: Q queries, N gallery items, D features, K the largest number of neighbours looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.contract.metrics import (
    average_precision,
    average_precision_chance,
    cosine_rankings,
    standardise,
    topk_chance,
    unit,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.evaluators.options.shared import Standardise

    Floats = NDArray[np.floating[Any]]
    Ints = NDArray[np.int64]

SHOWN = 5
"""Neighbours of a query that are kept for looking at."""

ALIKE = 1e-5
"""Spread of a gallery, relative to its largest number, below which it is rounding."""


@dataclass(frozen=True)
class Found:
    """What queries found."""

    hits: Sequence[float]
    """Share of queries with a hit among the first 1, 2, …, K neighbours."""
    precision: float
    """Mean average precision."""
    nearest: Ints | None = None
    """(Q, at most `SHOWN`) the nearest gallery items, best first."""
    cosines: Floats | None = None
    """Of these."""
    alike: bool = False
    """All gallery items look the same, none is nearer than another, and figures are of chance."""


@dataclass(frozen=True)
class Items:
    """Queries or a gallery: videos, or clips of them."""

    videos: Sequence[Video]
    owners: Ints
    """(N,) number of the video of each item."""

    def classes(self, numbers: dict[str, int]) -> Ints:
        """Return (N,) the class of each item; -1 for those that have no number."""
        of_video = [numbers.get(str(video.label), -1) for video in self.videos]
        return np.array(of_video, dtype=np.int64)[self.owners]


class Search:
    """Looks for items of the same class among other items."""

    def __init__(self, queries: Items, gallery: Items, topk: Iterable[int]) -> None:
        """Number the classes; those k that the gallery has no items for are left out."""
        numbers = {n: i for i, n in enumerate(sorted({str(v.label) for v in gallery.videos}))}
        self.queries, self.gallery = queries, gallery
        self.wanted, self.offered = queries.classes(numbers), gallery.classes(numbers)
        self.topk = sorted(k for k in set(topk) if k <= len(self.offered))
        self.depth = max(self.topk, default=1)

    def metrics(self, found: Found) -> dict[str, float]:
        """Name hits and mean average precision."""
        return {f"top{k}": found.hits[k - 1] for k in self.topk} | {"mAP": found.precision}

    @cached_property
    def by_chance(self) -> Found:
        """What to expect of a random ranking, given how often each class is in the gallery."""
        hits = topk_chance(self.wanted, self.offered, range(1, self.depth + 1))
        return Found(list(hits.values()), average_precision_chance(self.wanted, self.offered))

    def find(self, queries: Floats, gallery: Floats, standard: Standardise) -> Found:
        """Rank (N, D) by cosine for each of (Q, D); equally near items stay in gallery order.

        Args:
            queries: (Q, D).
            gallery: (N, D).
            standard: Subtract the gallery's mean and divide by its deviation first; or subtract
                from either side its own mean.
        """
        if len(gallery) > 1 and np.ptp(gallery, 0).max() <= ALIKE * np.abs(gallery).max():
            return replace(self.by_chance, alike=True)  # standardising would make rounding large
        if standard == "centre":
            queries, gallery = queries - queries.mean(0), gallery - gallery.mean(0)
        elif standard:
            queries, gallery = standardise(queries, gallery), standardise(gallery, gallery)
        hits, precision = np.zeros(self.depth), 0.0
        nearest: list[Ints] = []
        cosines: list[Floats] = []
        asked = 0
        for ranking in cosine_rankings(queries, gallery, len(gallery)):
            wanted = self.wanted[asked : asked + len(ranking), None]
            right = self.offered[ranking] == wanted
            hits += np.logical_or.accumulate(right[:, : len(hits)], 1).sum(0)
            precision += float(average_precision(right).sum())
            nearest.append(ranking[:, :SHOWN])
            cosines.append(_cosines(queries[asked : asked + len(ranking)], gallery, nearest[-1]))
            asked += len(ranking)
        kept = np.concatenate(nearest), np.concatenate(cosines)
        return Found((hits / asked).tolist(), precision / asked, *kept)


def _cosines(queries: Floats, gallery: Floats, items: Ints) -> Floats:
    """Return (Q, K) the cosine of each query with its items."""
    return np.asarray(np.einsum("qd,qkd->qk", unit(queries), unit(gallery[items])))
