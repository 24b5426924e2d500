"""Pairs of similar clips, found in buckets and not by comparing all with all.

Buckets are the cells of spherical k-means. Each clip is compared with all of its own bucket and of
those that are next nearest to it. How many these are follows from the data: from pairs that are
made to be as far apart as the threshold allows, as few as let `_MEETING` of them meet.

Letters: N clips, D features, C buckets, P buckets that are visited by a clip, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from math import sqrt
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vidssl_cli.base.console import track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.search.columns import Column

_SMALL = 1 << 14
"""Clips up to which all are compared with all."""
_PER_BUCKET = 64
"""Clips of each bucket that k-means is trained with."""
_ROUNDS = 10
_SAMPLE = 2000
"""Pairs that are made to choose P."""
_MEETING = 0.995
_VISITORS, _HOMES = 2048, 8192
"""Clips that are compared at once, by as many: 64 MB of cosines."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Some clips of an index, as unit vectors that are read when they are needed."""

    features: Column
    """(M, D) of all clips of the index."""
    scaling: NDArray[np.float64]
    """(2, D)"""
    inverse: NDArray[np.float32]
    """(M,) of `vidssl_cli.search.exact.inverse_lengths`."""
    entries: NDArray[np.int64]
    """(N,) which of the M they are, ascending."""
    owners: NDArray[np.int32]
    """(N,) the video of each."""

    def __len__(self) -> int:
        return len(self.entries)

    def vectors(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the unit vectors (n, D) of some of the N; zeros stay."""
        entries = self.entries[rows]
        mean, deviation = self.scaling.astype(np.float32)
        found: NDArray[np.float32] = self.features[entries].astype(np.float32, copy=False)
        found -= mean
        found *= deviation
        found *= self.inverse[entries, None]
        return found


@dataclass(frozen=True, eq=False)
class SimilarClips:
    """Pairs of clips of different videos; each pair once."""

    first: NDArray[np.int64]
    """(pairs,) numbers from 0 to N - 1, that of the video with the lower number."""
    second: NDArray[np.int64]
    cosine: NDArray[np.float32]
    crowded: int
    """Clips with more similar ones than were kept."""


def similar_clips(clips: Clips, threshold: float, most: int) -> SimilarClips:
    """Find pairs of clips of different videos.

    Args:
        clips: What to compare.
        threshold: Least cosine of a pair, above 0.
        most: For each clip, as many of the nearest others are kept.
    """
    nearest = _Nearest(clips, most, threshold)
    with ThreadpoolController().limit(limits=1, user_api="blas"):
        if len(clips) <= _SMALL:
            all_ = np.arange(len(clips))
            jobs = [(visitors, all_) for visitors in _parts(all_, _VISITORS)]
        else:
            jobs = _jobs(clips, threshold)
        with ThreadPoolExecutor(usable_cores(), "buckets") as pool:
            done = pool.map(lambda job: nearest.compare(*job), jobs)
            for _ in track(done, "comparing clips", len(jobs)):
                pass
    return nearest.pairs()


def _jobs(clips: Clips, threshold: float) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return what to compare: the clips that visit each bucket, with those that are at home."""
    draw = np.random.default_rng(0)
    centres = _train(clips, draw)
    visits = _visits(clips, centres, _choose_visits(clips, centres, threshold, draw))
    homes = _members(visits[:, 0], len(centres))
    order = np.argsort(visits, axis=None, kind="stable")
    bounds = np.searchsorted(visits.ravel()[order], np.arange(len(centres) + 1))
    visitors = [order[a:b] // visits.shape[1] for a, b in pairwise(bounds)]
    return list(zip(visitors, homes, strict=True))


def _train(clips: Clips, draw: np.random.Generator) -> NDArray[np.float32]:
    """Return the centres (C, D) of buckets, of length 1."""
    count = round(2 * sqrt(len(clips)))
    chosen = draw.choice(len(clips), min(len(clips), _PER_BUCKET * count), replace=False)
    vectors = clips.vectors(np.sort(chosen))
    centres = vectors[draw.choice(len(vectors), count, replace=False)]
    for _ in track(range(_ROUNDS), "making buckets"):
        nearest = _nearest_centres(vectors, centres, 1)[:, 0]
        order = np.argsort(nearest, kind="stable")
        filled, starts = np.unique(nearest[order], return_index=True)
        sums = np.add.reduceat(vectors[order], starts)
        centres = vectors[draw.choice(len(vectors), count, replace=False)]  # for the empty ones
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres[filled] = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
    return centres


def _choose_visits(
    clips: Clips, centres: NDArray[np.float32], threshold: float, draw: np.random.Generator
) -> int:
    """Return P, by pairs whose cosine is the threshold and whose difference is like the data's."""
    rows = np.sort(draw.choice(len(clips), min(_SAMPLE, len(clips)), replace=False))
    ones = clips.vectors(rows)
    others = ones[draw.permutation(len(ones))]
    aside = others - (others * ones).sum(1, keepdims=True) * ones
    aside /= np.maximum(np.linalg.norm(aside, axis=1, keepdims=True), 1e-6)
    moved = threshold * ones + sqrt(1 - threshold**2) * aside
    to_ones, to_moved = ones @ centres.T, moved @ centres.T
    ranks = np.minimum(_rank(to_ones, to_moved.argmax(1)), _rank(to_moved, to_ones.argmax(1)))
    return 1 + int(np.quantile(ranks, _MEETING, method="higher"))


def _rank(cosines: NDArray[np.float32], bucket: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many buckets (n,) are nearer than one (n,), by cosines (n, C)."""
    nearer: NDArray[np.int64] = (cosines > cosines[np.arange(len(cosines)), bucket, None]).sum(1)
    return nearer


def _visits(clips: Clips, centres: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """Return the P nearest buckets (N, P) of each clip, the nearest first."""
    starts = range(0, len(clips), _HOMES)

    def some(first: int) -> NDArray[np.int32]:
        rows = np.arange(first, min(first + _HOMES, len(clips)))
        return _nearest_centres(clips.vectors(rows), centres, count)

    with ThreadPoolExecutor(usable_cores(), "buckets") as pool:
        return np.concatenate(list(track(pool.map(some, starts), "filling buckets", len(starts))))


def _nearest_centres(
    vectors: NDArray[np.float32], centres: NDArray[np.float32], count: int
) -> NDArray[np.int32]:
    """Return the buckets (n, count) that are nearest to vectors (n, D), the nearest first."""
    found = np.empty((len(vectors), count), np.int32)
    for first in range(0, len(vectors), _HOMES):
        cosines = vectors[first : first + _HOMES] @ centres.T
        if count == 1:
            found[first : first + _HOMES, 0] = cosines.argmax(1)
            continue
        some = np.argpartition(-cosines, min(count, len(centres) - 1), axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(cosines, some, 1), axis=1, kind="stable")
        found[first : first + _HOMES] = np.take_along_axis(some, order, 1)
    return found


def _members(buckets: NDArray[np.int32], count: int) -> list[NDArray[np.int64]]:
    """Return the clips at home in each bucket."""
    order = np.argsort(buckets, kind="stable")
    return np.split(order, np.searchsorted(buckets[order], np.arange(1, count)))


@dataclass(eq=False)
class _Nearest:
    """The K nearest clips of other videos that were found for each clip so far."""

    clips: Clips
    most: int
    threshold: float
    ids: NDArray[np.int32] = field(init=False)
    """(N, K), -1 where there is none."""
    cosines: NDArray[np.float32] = field(init=False)
    _crowded: NDArray[np.bool_] = field(init=False)
    _lock: Lock = field(init=False, default_factory=Lock)

    def __post_init__(self) -> None:
        shape = len(self.clips), self.most
        self.ids = np.full(shape, -1, np.int32)
        self.cosines = np.full(shape, -np.inf, np.float32)
        self._crowded = np.zeros(len(self.clips), bool)

    def compare(self, visitors: NDArray[np.int64], homes: NDArray[np.int64]) -> None:
        """Compare some clips with others."""
        for rows in _parts(homes, _HOMES):
            gallery = self.clips.vectors(rows).T
            for asked in _parts(visitors, _VISITORS):
                cosines = self.clips.vectors(asked) @ gallery
                near, far = np.nonzero(cosines >= self.threshold)
                found, others = asked[near], rows[far]
                apart = self.clips.owners[found] != self.clips.owners[others]
                if apart.any():
                    self._keep(found[apart], others[apart], cosines[near[apart], far[apart]])

    def _keep(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], cosines: NDArray[np.float32]
    ) -> None:
        touched = np.unique(rows)
        with self._lock:
            held = self.ids[touched]
            known, place = np.nonzero(held >= 0)
            rows = np.concatenate([touched[known], rows])
            ids = np.concatenate([held[known, place], ids])
            cosines = np.concatenate([self.cosines[touched][known, place], cosines])
            order = np.lexsort((ids, -cosines, rows))
            rows, ids, cosines = rows[order], ids[order], cosines[order]
            rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
            self._crowded[rows[rank >= self.most]] = True
            kept = rank < self.most
            self.ids[touched], self.cosines[touched] = -1, -np.inf
            self.ids[rows[kept], rank[kept]] = ids[kept]
            self.cosines[rows[kept], rank[kept]] = cosines[kept]

    def pairs(self) -> SimilarClips:
        """Return what was found, each pair once, in the order of the numbers."""
        rows, place = np.nonzero(self.ids >= 0)
        low, high = rows, self.ids[rows, place].astype(np.int64)
        swap = self.clips.owners[low] > self.clips.owners[high]
        low, high = np.where(swap, high, low), np.where(swap, low, high)
        keys, once = np.unique(low * len(self.clips) + high, return_index=True)
        return SimilarClips(
            keys // len(self.clips),
            keys % len(self.clips),
            self.cosines[rows, place][once],
            int(self._crowded.sum()),
        )


def _parts(numbers: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]
