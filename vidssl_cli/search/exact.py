"""Exact search: every entry is compared, in blocks, by all cores, without a copy of the features.

The cosine of a query and an entry x, both scaled by mean m and inverse deviation s, is
(u s · x - u · s m) / |s (x - m)| with the query's unit vector u; only the lengths are kept with the
index. Each core scans its own share: BLAS libraries and FAISS, whose threads wait for each other
at every block, become ten times slower where another program keeps one core busy.

Letters: N entries, Q queries, K neighbours, D features.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vidssl_cli.search.columns import BLOCK, Column
from vidssl_cli.search.engines import Engine, Ids, unit_vectors

_FEW = 2
"""Queries up to which a matrix is read once for each, which is faster."""
_MANY = 1024
"""Queries that are answered at once, to bound memory."""


def inverse_lengths(features: Column, scaling: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return (N,) one by the length of each scaled entry, 0 for an entry of zeros."""
    mean, inverse = scaling.astype(np.float32)
    lengths = np.empty(len(features), np.float32)
    for first, rows in features.blocks():
        scaled = (rows - mean) * inverse
        lengths[first : first + len(rows)] = np.sqrt(np.einsum("nd,nd->n", scaled, scaled))
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def exact_engine(
    features: Column,
    scaling: NDArray[np.float64],
    inverse: NDArray[np.float32],
    removed: NDArray[np.int64],
) -> Engine:
    """Search entries by comparing all of them.

    Args:
        features: (N, D).
        scaling: (2, D), of the index.
        inverse: (N,) of `inverse_lengths`.
        removed: Entries that are never proposed, ascending.
    """

    def search(queries: NDArray[np.floating[Any]], k: int) -> Ids:
        units = unit_vectors(queries, scaling) * scaling[1]
        shift = (units @ scaling[0]).astype(np.float32)[:, None]
        parts = range(0, len(units), _MANY)
        return np.concatenate(
            [
                _Search(
                    features, inverse, removed, units[n : n + _MANY].astype(np.float32),
                    shift[n : n + _MANY], k,
                ).run()
                for n in parts
            ]
        )  # fmt: skip

    return search


@dataclass(frozen=True)
class _Search:
    """One search."""

    features: Column
    inverse: NDArray[np.float32]
    removed: NDArray[np.int64]
    queries: NDArray[np.float32]
    """(Q, D), scaled already."""
    shift: NDArray[np.float32]
    """(Q, 1) what their products lack."""
    k: int

    def run(self) -> Ids:
        """Return (Q, K) candidates."""
        size = len(self.features)
        shares = max(1, min(_cores(), size // BLOCK))
        bounds = [size * n // shares for n in range(shares + 1)]
        with _blas().limit(limits=1, user_api="blas"):
            if shares == 1:
                return self._scan(0, size)[1]
            with ThreadPoolExecutor(shares, "search") as pool:
                parts = list(pool.map(self._scan, bounds[:-1], bounds[1:]))
        scores, ids = (np.concatenate(each, 1) for each in zip(*parts, strict=True))
        return _best(scores, ids, self.k)[1]

    def _scan(self, first: int, last: int) -> tuple[NDArray[np.float32], Ids]:
        """Return scores and numbers (Q, K) of the best of some entries."""
        count = len(self.queries)
        scores = np.full((count, self.k), -np.inf, np.float32)
        ids = np.full((count, self.k), -1, np.int64)
        for begin, rows in self.features.blocks(first, last):
            cosines = self._cosines(begin, rows)
            if (width := cosines.shape[1]) <= self.k:
                numbers = np.broadcast_to(np.arange(begin, begin + width), cosines.shape)
                scores, ids = _best(
                    np.concatenate([scores, cosines], 1), np.concatenate([ids, numbers], 1), self.k
                )
                continue
            better = cosines > scores.min(1, keepdims=True)
            for query in np.flatnonzero(better.any(1)):
                columns = np.flatnonzero(better[query])
                pool = np.concatenate([scores[query], cosines[query, columns]])
                numbers = np.concatenate([ids[query], columns + begin])
                chosen = np.argpartition(-pool, self.k - 1)[: self.k]
                scores[query], ids[query] = pool[chosen], numbers[chosen]
        return scores, ids

    def _cosines(self, begin: int, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosines (Q, n) of a block; of removed entries, less than any."""
        end = begin + len(rows)
        if len(self.queries) <= _FEW:
            cosines = np.stack([rows @ query for query in self.queries])
        else:
            cosines = self.queries @ rows.T
        cosines -= self.shift
        cosines *= self.inverse[begin:end]
        low, high = np.searchsorted(self.removed, [begin, end])
        cosines[:, self.removed[low:high] - begin] = -np.inf
        return cosines


def _best(scores: NDArray[np.float32], ids: Ids, k: int) -> tuple[NDArray[np.float32], Ids]:
    """Return the best K of each row, in any order."""
    chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    return np.take_along_axis(scores, chosen, 1), np.take_along_axis(ids, chosen, 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
