"""What queries are compared with: the videos of an index, or their clips, as unit vectors.

An engine proposes candidates; `Level.nearest` scores them again in double precision. So the scores
and the order of equal items are the same on every machine, and a compressed index errs only in
which candidates it proposes.

Letters: N entries, Q queries, K neighbours, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.metrics import scale, unit
from vidssl_cli.search.columns import Column
from vidssl_cli.search.engines import Engine, Ids, unit_vectors
from vidssl_cli.search.exact import exact_engine, inverse_lengths

LevelName = Literal["video", "clip"]
LEVELS: tuple[LevelName, LevelName] = ("video", "clip")

_TIE, _ROUNDING = 1e-5, 1e-6
"""More than single precision can err in a cosine: at all, and for each unit of the length of the
mean that is subtracted, in deviations."""
_LENGTH = 1e-4
"""Share of a vector's length that single precision cannot err by."""
_SAMPLE, _SHRINKAGE = 4096, 0.1
"""Most entries of which the covariance is taken, and the share of the mean variance that is added
to each."""
_FURTHER = 4
"""How many times as many neighbours are searched for when more are needed."""


class Level:
    """N entries of an index, each a vector (D)."""

    def __init__(
        self,
        features: Column,
        scaling: NDArray[np.float64],
        removed: NDArray[np.int64],
        open_engine: Callable[[], Engine],
        where: str = "",
        inverse: NDArray[np.float32] | None = None,
    ) -> None:
        """Take the entries; nothing is computed yet.

        Args:
            features: (N, D), as the network gave them.
            scaling: (2, D) of `metrics.scaling`, or 0 and 1 for features that stay as they are.
            removed: Numbers of entries that are never found, ascending.
            open_engine: Returns what proposes candidates; called by the first search.
            where: Whose features they are, for messages.
            inverse: (N,) of `vidssl_cli.search.exact.inverse_lengths`; None if it is not known.
        """
        self.features = features
        self._scaling = scaling
        self.removed = removed
        self._open_engine = open_engine
        self._where = where
        self._inverse = inverse
        self._tie = _TIE + _ROUNDING * float(np.linalg.norm(scaling[0] * scaling[1]))

    def __len__(self) -> int:
        """Return how many entries can be found."""
        return len(self.features) - len(self.removed)

    @property
    def present(self) -> NDArray[np.int64]:
        """Numbers of the entries that can be found, ascending."""
        return np.delete(np.arange(len(self.features)), self.removed)

    def unit(self, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Scale features (…, D) as the index does, then to length 1; see `unit_vectors`."""
        return unit_vectors(features, self._scaling)

    def vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the unit vectors (n, D) of some entries.

        Raises:
            DamagedFileError: One is not as long as when the index was made.
        """
        rows = self.features[ids]
        if self._inverse is not None:
            kept = self._inverse[ids]
            found = inverse_lengths(Column([rows]), self._scaling)
            if (np.abs(found - kept) > _LENGTH * kept).any():
                raise DamagedFileError(
                    "it holds features that have changed since they were written",
                    where=self._where,
                    hint="`vidssl index --verify` tells which file it is",
                )
        return self.unit(rows)

    @cached_property
    def white(self) -> Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]:
        """What makes unit vectors of features (…, D), so that all directions vary alike.

        The cosine of two of them is that of the Mahalanobis metric of the entries that can be
        found, or of some of them, evenly spaced. Clips of one place and posture are then told apart
        by what little differs. Of fewer entries than dimensions the covariance says too little:
        `unit` is what they get.

        Raises:
            DamagedFileError: A feature is not finite.
        """
        found = self.present
        sample = found[np.linspace(0, len(found) - 1, min(len(found), _SAMPLE)).astype(np.int64)]
        count, dimension = len(sample), self.features.shape[1]
        if count < dimension:
            return self.unit
        vectors = scale(self.features[sample], self._scaling)
        mean = vectors.mean(0)
        covariance = (vectors - mean).T @ (vectors - mean) / count
        least = (_SHRINKAGE + dimension / count) * covariance.trace() / dimension
        if not np.isfinite(least):
            raise DamagedFileError("it holds features that are not finite", where=self._where)
        if least <= 0:  # all are the same
            return self.unit
        root = np.linalg.inv(np.linalg.cholesky(covariance + least * np.eye(dimension))).T
        return lambda features: unit((scale(features, self._scaling) - mean) @ root)

    def cosines(self, unit: NDArray[np.float64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the cosines (n,) of a unit vector (D) and some entries, in [-1, 1].

        Raises:
            DamagedFileError: A feature is not finite.
        """
        products = (self.vectors(ids) * unit).sum(1)
        if not np.isfinite(products).all():
            raise DamagedFileError("it holds features that are not finite", where=self._where)
        cosines: NDArray[np.float32] = np.clip(products, -1, 1).astype(np.float32)
        return cosines

    def ranked(
        self, queries: NDArray[np.floating[Any]], first: int
    ) -> list[Iterator[tuple[int, float]]]:
        """Return for each query (Q, D) all entries and their cosines, best first.

        Args:
            queries: As for `nearest`.
            first: How many are searched for at once for all queries; more are found when needed.
        """
        found = self.nearest(queries, first)
        return [self._all(query, *best) for query, best in zip(queries, found, strict=True)]

    def _all(
        self, query: NDArray[np.floating[Any]], ids: Ids, scores: NDArray[np.float32]
    ) -> Iterator[tuple[int, float]]:
        """Yield entries that were found, then others."""
        seen = np.empty(0, np.int64)
        while (new := ~np.isin(ids, seen)).any():
            yield from zip(ids[new].tolist(), scores[new].tolist(), strict=True)
            seen = np.union1d(seen, ids)
            if len(seen) >= len(self):
                return
            ((ids, scores),) = self.nearest(query[None], _FURTHER * len(seen))

    @cached_property
    def exact(self) -> Level:
        """The same entries, all of which are compared."""
        if self._inverse is None:
            self._inverse = inverse_lengths(self.features, self._scaling)
        engine = exact_engine(self.features, self._scaling, self._inverse, self.removed)
        return Level(
            self.features, self._scaling, self.removed, lambda: engine, self._where, self._inverse
        )

    @cached_property
    def engine(self) -> Engine:
        """What proposes candidates."""
        return self._open_engine()

    def nearest(
        self, queries: NDArray[np.floating[Any]], k: int
    ) -> list[tuple[Ids, NDArray[np.float32]]]:
        """Find the K entries that are nearest to each query by cosine similarity.

        Args:
            queries: (Q, D) features, as the network gave them.
            k: At most so many neighbours.

        Returns:
            For each query the numbers of its neighbours (K,) and their cosines (K,), which are in
            [-1, 1], best first; equally similar ones in the order of their numbers.

        Raises:
            DamagedFileError: A feature is not finite.
        """
        if not np.isfinite(queries).all():
            raise DamagedFileError("features of a query are not finite", where=self._where)
        k = min(k, len(self))
        count = min(len(self.features), 4 * k + 16)  # compressed vectors are ranked only roughly
        proposals = self.engine(queries, count)
        found = [
            self._rank(query, k, proposal)
            for query, proposal in zip(queries, proposals, strict=True)
        ]
        for query, (ids, _) in enumerate(found):
            if len(ids) < k:  # an index that is not exact does not look everywhere
                found[query] = self.exact.nearest(queries[query : query + 1], k)[0]
        return found

    def _rank(
        self, query: NDArray[np.floating[Any]], k: int, proposed: Ids
    ) -> tuple[Ids, NDArray[np.float32]]:
        """Rank candidates by their true cosines, with all that may tie for the last place."""
        unit = self.unit(query)
        while True:
            ids = np.setdiff1d(proposed[proposed >= 0], self.removed)
            scores = self.cosines(unit, ids)
            order = np.argsort(-scores, kind="stable")
            if (
                len(proposed) == len(self.features)
                or (proposed < 0).any()
                or (len(ids) > k and scores[order[-1]] < scores[order[k - 1]] - self._tie)
            ):
                return ids[order[:k]], scores[order[:k]]
            more = min(len(self.features), 4 * len(proposed))
            proposed = self.engine(query[None], more)[0]
