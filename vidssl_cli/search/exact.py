"""Exact search: every entry is compared, in blocks, by all cores, without a copy of the features.

The cosine of a query and an entry x, both scaled by mean m and inverse deviation s, is
(u s · x - u s · m) / |s (x - m)| with the query's unit vector u; only the lengths are kept with the
index. Each core scans its own share: BLAS libraries and FAISS, whose threads wait for each other
at every block, become ten times slower where another program keeps one core busy. Rows are
multiplied so few at a time that they and their products stay in the cache.

Letters: N entries, Q queries, K neighbours, D features, n rows of a block.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vidssl_cli.base.cores import usable_cores
from vidssl_cli.search.columns import BLOCK, Column
from vidssl_cli.search.engines import Engine, Ids, unit_vectors

_FEW = 6
"""Queries up to which torch's product of entries by queries is faster, up to twice, than BLAS's of
queries by entries."""
_MANY = 1024
"""Queries that are answered at once, to bound memory."""
_PRODUCTS = 1 << 19
"""Products that are made at once, so that they stay in the cache."""
_SLACK = 64
"""Candidates beyond K, or as many as K, after which the worst are dropped."""
_ROWS, _HALVES = 256, 2048
"""Rows that are multiplied at once at least, and those in half precision at most."""


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
        features: (N, D), in single or half precision.
        scaling: (2, D), of the index.
        inverse: (N,) of `inverse_lengths`.
        removed: Entries that are never proposed, ascending.
    """
    cores = usable_cores()  # asking the system takes as long as a small search

    def search(queries: NDArray[np.floating[Any]], k: int) -> Ids:
        units = unit_vectors(queries, scaling) * scaling[1]
        shift = (units @ scaling[0]).astype(np.float32)[:, None]
        parts = range(0, len(units), _MANY)
        return np.concatenate(
            [
                _Search(
                    features, inverse, removed, units[n : n + _MANY].astype(np.float32),
                    shift[n : n + _MANY], k,
                ).run(cores)
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

    def run(self, cores: int) -> Ids:
        """Return (Q, K) candidates; so many cores scan a share each."""
        size = len(self.features)
        shares = max(1, min(cores, size // BLOCK))
        bounds = [size * n // shares for n in range(shares + 1)]
        with _one_thread_each():
            if shares == 1:
                return self._scan(0, size)[1]
            with ThreadPoolExecutor(shares, "search") as pool:
                parts = list(pool.map(self._scan, bounds[:-1], bounds[1:]))
        scores, ids = (np.concatenate(each, 1) for each in zip(*parts, strict=True))
        return _best(scores, ids, self.k)[1]

    def _scan(self, first: int, last: int) -> tuple[NDArray[np.float32], Ids]:
        """Return scores and numbers (Q, K) of the best of some entries."""
        halves = self.features.dtype == np.float16
        at_once = min(max(_PRODUCTS // len(self.queries), _ROWS), _HALVES if halves else BLOCK)
        single = np.empty((at_once * halves, self.queries.shape[1]), np.float32)
        best = _Best(len(self.queries), self.k, at_once)
        for begin, block in self.features.blocks(first, last):
            for low in range(0, len(block), at_once):
                rows = block[low : low + at_once]
                if halves:
                    torch.from_numpy(single[: len(rows)]).copy_(_tensor(rows))
                    rows = single[: len(rows)]
                best.add(self._cosines(begin + low, rows), begin + low)
        return best.chosen()

    def _cosines(self, begin: int, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the cosines (Q, n) of a block; of removed entries, less than any."""
        end = begin + len(rows)
        low, high = np.searchsorted(self.removed, [begin, end])
        cosines: NDArray[np.float32]
        if high - low == len(rows):
            return np.full((len(self.queries), len(rows)), -np.inf, np.float32)
        if len(self.queries) == 1:
            cosines = (rows @ self.queries[0])[None]
        elif len(self.queries) <= _FEW:
            products = _tensor(rows) @ torch.from_numpy(self.queries).T
            cosines = np.ascontiguousarray(products.numpy().T)
        else:
            cosines = self.queries @ rows.T
        if self.shift.any():
            cosines -= self.shift
        cosines *= self.inverse[begin:end]
        cosines[:, self.removed[low:high] - begin] = -np.inf
        return cosines


class _Best:
    """The best K of what Q queries have been compared with so far, and some more."""

    def __init__(self, count: int, k: int, block: int) -> None:
        self._k, self._block = k, block
        shape = count, k + 2 * block
        self._scores = np.full(shape, -np.inf, np.float32)
        self._ids = np.full(shape, -1, np.int64)
        self._filled = np.full(count, k)
        """How many of a row are scores, or free for the best."""
        self._least = np.full((count, 1), -np.inf, np.float32)

    def add(self, scores: NDArray[np.float32], first: int) -> None:
        """Compare the scores (Q, n) of the entries from one on."""
        if self._least.min() == -np.inf:  # nearly all are better
            end = self._k + scores.shape[1]
            self._scores[:, self._k : end] = scores
            self._ids[:, self._k : end] = np.arange(first, first + scores.shape[1])
            self._filled[:] = end
            return self._drop()
        query, column = np.divmod(np.flatnonzero(scores > self._least), scores.shape[1])
        counts = np.bincount(query, minlength=len(scores))
        starts = np.cumsum(counts) - counts - self._filled
        places = np.arange(len(query)) - starts[query]
        self._scores[query, places] = scores[query, column]
        self._ids[query, places] = column + first
        self._filled += counts
        if self._filled.max() > self._k + min(self._block, max(self._k, _SLACK)):
            self._drop()

    def chosen(self) -> tuple[NDArray[np.float32], Ids]:
        """Return scores and numbers (Q, K), in any order; -1 where there are fewer."""
        self._drop()
        return self._scores[:, : self._k], self._ids[:, : self._k]

    def _drop(self) -> None:
        """Keep the best K."""
        k, width = self._k, self._filled.max()
        kept = _best(self._scores[:, :width], self._ids[:, :width], k)
        self._scores[:, :k], self._ids[:, :k] = kept
        self._scores[:, k:width] = -np.inf
        self._least = kept[0].min(1, keepdims=True)
        self._filled[:] = k


def _best(scores: NDArray[np.float32], ids: Ids, k: int) -> tuple[NDArray[np.float32], Ids]:
    """Return the best K of each row, in any order."""
    rest = scores.shape[1] - k
    chosen = np.argpartition(scores, rest, axis=1)[:, rest:] if rest else np.arange(k)[None]
    return np.take_along_axis(scores, chosen, 1), np.take_along_axis(ids, chosen, 1)


def _tensor(rows: NDArray[np.floating[Any]]) -> torch.Tensor:
    """Share rows (n, D) with torch, which warns about arrays of files that are only read."""
    buffer = (ctypes.c_byte * rows.nbytes).from_address(rows.ctypes.data)
    kind = torch.float16 if rows.dtype == np.float16 else torch.float32
    return torch.frombuffer(buffer, dtype=kind).view(rows.shape)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let libraries compute with one thread for each that calls them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _blas().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()
