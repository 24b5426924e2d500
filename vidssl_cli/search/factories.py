"""Factories: names of kinds of FAISS indexes, and the indexes that are built by them.

Letters: N gallery vectors, D features.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import UsageError
from vidssl_cli.search.columns import Column
from vidssl_cli.search.engines import faiss_reason, load_faiss, require_faiss, unit_vectors

EXACT = "Flat"
HALF = "Flat16"
LARGE = "IVF,RaBitQ4"
"""Kind of a large index by default."""
SERVED = 2 << 30
"""Bytes of features that exact search serves: at 20 GB a second, in a tenth of a second a query."""
LONGEST = 500
"""Characters of a factory string; some thousands crash FAISS's parser, and the process."""

_TRAINING_POINTS = 39
"""Vectors for each centroid, below which FAISS warns about k-means."""
_PROBES = 16
"""Lists that are searched at least."""
_SAMPLE = 1 << 16
"""Vectors that train an index, if not more for its lists; 256 for each value of a byte."""
_GRAPH, _MANY_LISTS = "_HNSW32", 1 << 15
"""What finds the nearest lists, from so many on."""
MANY = 1_000_000
"""Vectors that are reckoned with where their number is not known yet."""


def default_factory(size: int, dimension: int) -> str:
    """Return the kind of an index of N vectors: exact, if that answers in a tenth of a second."""
    if 4 * size * dimension <= SERVED or load_faiss() is None:
        return EXACT
    return LARGE


def expand_factory(factory: str, size: int, dimension: int) -> str:
    """Turn the short names HNSW, IVF, SQ, PQ and Flat16 into FAISS factory strings.

    Args:
        factory: A short name, or any FAISS factory string, such as ``IVF1024,SQ8``. An ``IVF``
            without its number of lists gets about 4 √N, and a graph over them if they are many;
            RaBitQ gets the random rotation that it needs.
        size: N.
        dimension: D, which the number of PQ's parts must divide.
    """
    lists = max(1, min(round(4 * sqrt(size)), size // _TRAINING_POINTS))
    parts = max(m for m in range(1, min(64, max(1, dimension // 4)) + 1) if dimension % m == 0)
    short = {"HNSW": "HNSW32", "IVF": "IVF,Flat", "SQ": "SQ8", "PQ": f"PQ{parts}", HALF: "SQfp16"}
    full = short.get(factory, factory)
    full = re.sub(r"\bIVF(?=,)", f"IVF{lists}{_GRAPH if lists >= _MANY_LISTS else ''}", full)
    full = re.sub(r"\bIVF(?=_)", f"IVF{lists}", full)
    if re.match(r"(IVF\w*,)?RaBitQ", full):  # which is of rotated vectors; FAISS leaves that out
        full = f"RR,{full}"
    return full


class UnitVectors:
    """Entries of an index as vectors (N, D) of length 1, which are read a block at a time."""

    def __init__(self, features: Column, scaling: NDArray[np.float64]) -> None:
        """Take features (N, D), and (2, D) that scales them."""
        self._features, self._scaling = features, scaling
        self._centre, self._factor = np.zeros(1), 1.0
        self.shape: tuple[int, ...] = features.shape

    def blocks(self, first: int = 0) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors (n, D) from one on."""
        for _, rows in self._features.blocks(first):
            yield self._vectors(rows)

    def sample(self, count: int) -> NDArray[np.float32]:
        """Return at most so many vectors (n, D), at even distances."""
        count = min(count, len(self._features))
        vectors = np.empty((count, *self.shape[1:]), np.float32)
        for rows in np.array_split(np.arange(count), max(1, count >> 14)):
            chosen = self._features[rows * len(self._features) // count]
            vectors[rows] = self._vectors(chosen)
        return vectors

    def spread(self) -> None:
        """Subtract their mean and make them as large as 1, so that rounding loses little.

        The order of their inner products with a query stays.
        """
        sample = self.sample(_SAMPLE)
        self._centre = sample.mean(0, dtype=np.float64)
        self._factor = 1 / (float(np.abs(sample - self._centre).max()) or 1)

    def _vectors(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        units = unit_vectors(rows, self._scaling)
        return ((units - self._centre) * self._factor).astype(np.float32)


def build_faiss(vectors: UnitVectors, factory: str) -> Any:
    """Build a FAISS index of inner products over vectors (N, D), trained by a sample of them.

    Raises:
        UsageError: There is no such factory, or there are too few vectors to train it.
        VidsslError: FAISS is not installed.
    """
    faiss = require_faiss(factory)
    if factory == HALF:
        vectors.spread()
    size, dimension = vectors.shape
    full = expand_factory(factory, size, dimension)
    lists = _lists(full)
    if size < _TRAINING_POINTS * lists:
        warn(
            f"{full}: {size} vectors are few to train {lists} lists; "
            f"have {_TRAINING_POINTS * lists}, or let --factory IVF choose their number"
        )
    try:
        index = _empty(faiss, full, dimension, size)
        rotations = _prepare(faiss, index)
        index.train(vectors.sample(max(_SAMPLE, (_TRAINING_POINTS + 1) * lists)))
        for rotation, _ in rotations:
            rotation.pq = None  # which lives no longer than this function
        for rows in vectors.blocks():
            index.add(rows)
    except (RuntimeError, MemoryError) as error:
        raise _unfit(full, size, dimension, error) from None
    return index


def check_factory(factory: str, dimension: int, size: int | None = None) -> None:
    """Refuse a factory string before vectors are computed, by making an empty index of it.

    Args:
        factory: As for `expand_factory`.
        dimension: D.
        size: N, or None if it is not known yet.

    Raises:
        UsageError: `build_faiss` would refuse it.
        VidsslError: FAISS is not installed.
    """
    if factory == EXACT:
        return
    faiss = require_faiss(factory)
    count = MANY if size is None else size
    full = expand_factory(factory, count, dimension)
    if size is None and _lists(full) > MANY:  # empty lists take memory too
        return
    try:
        needed = _training_vectors(faiss, _empty(faiss, full, dimension, count))
        if needed > count:
            raise RuntimeError(f"its training needs {needed} vectors")
    except (RuntimeError, MemoryError) as error:
        raise _unfit(full, size, dimension, error) from None


def _training_vectors(faiss: Any, owner: Any) -> int:
    """Return how many vectors an index needs at least to be trained."""
    index = faiss.downcast_index(owner)  # lives no longer than what it was made of
    if isinstance(index, faiss.IndexIDMap | faiss.IndexIDMap2):
        raise RuntimeError("vidssl numbers vectors itself, without IDMap")
    trains_alone = getattr(index, "quantizer_trains_alone", 0) == 1
    needed = [0 if trains_alone else getattr(index, "nlist", 0)]
    needed += [index.pq.ksub] if hasattr(index, "pq") else []
    needed += [_axes(faiss, index.chain.at(place)) for place in range(_transforms(index))]
    parts = (getattr(index, name, None) for name in ("index", "base_index", "storage", "quantizer"))
    return max(needed + [_training_vectors(faiss, part) for part in parts if part is not None])


def _transforms(index: Any) -> int:
    return index.chain.size() if hasattr(index, "chain") else 0


def _axes(faiss: Any, transform: Any) -> int:
    """Return how many principal axes a transform finds, which takes as many vectors."""
    found = faiss.downcast_VectorTransform(transform)
    if not isinstance(found, faiss.PCAMatrix):
        return 0
    if found.d_out > found.d_in:
        raise RuntimeError(f"PCA cannot make {found.d_out} dimensions of {found.d_in}")
    return int(found.d_out)


def _empty(faiss: Any, full: str, dimension: int, size: int) -> Any:
    """Make an index of nothing, for so many vectors."""
    if len(full) > LONGEST:
        raise UsageError(f"--factory has more than {LONGEST} letters", where="--factory")
    if "CAGRA" in full.upper():
        raise RuntimeError(
            "only faiss-gpu with cuVS has it, and no name for it; HNSW is a graph too"
        )
    if "IVF" in full and not 1 <= _lists(full) <= size:
        raise RuntimeError(f"{_lists(full)} lists do not suit so many vectors")
    if not full or any(int(links) < 2 for links in re.findall(r"HNSW(\d+)", full)):
        raise RuntimeError("HNSW needs at least 2 links a vector" if full else "it is empty")
    return faiss.index_factory(dimension, full, faiss.METRIC_INNER_PRODUCT)


def _lists(full: str) -> int:
    """Return how many lists an inverted file has, 0 for other indexes."""
    lists = re.search(r"IVF(\d+)", full)
    return int(lists[1]) if lists else 0


def _unfit(full: str, size: int | None, dimension: int, error: Exception) -> UsageError:
    """Return the error for an index that cannot be built."""
    return UsageError(
        f"FAISS cannot build {full} over {'' if size is None else f'{size} '}vectors of "
        f"{dimension} dimensions: {faiss_reason(error)}",
        where="--factory",
        hint="use Flat, which is exact and as fast below 100,000 vectors",
    )


def _prepare(faiss: Any, index: Any) -> list[tuple[Any, Any]]:
    """Train only what is used, and without FAISS's own warnings, of which there may be hundreds.

    Returns:
        Rotations to be trained, and what they use for it.
    """
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = min(inverted.nlist, _PROBES)
    rotations = []
    while isinstance(index := faiss.downcast_index(index), faiss.IndexPreTransform):
        for place in range(_transforms(index)):
            rotation = faiss.downcast_VectorTransform(index.chain.at(place))
            if isinstance(rotation, faiss.OPQMatrix):
                quantiser = faiss.ProductQuantizer(rotation.d_out, rotation.M, 8)
                rotation.pq = quantiser
                rotations.append((rotation, quantiser))
        index = index.index
    if hasattr(index, "do_polysemous_training"):
        index.do_polysemous_training = False  # takes minutes, for a search that is not used
    storage = faiss.downcast_index(index.storage) if hasattr(index, "storage") else index
    quantisers = [part.pq for part in (index, storage) if hasattr(part, "pq")]
    for trained in (index, storage, *quantisers, *(pq for _, pq in rotations)):
        if hasattr(trained, "cp"):
            trained.cp.min_points_per_centroid = 1
    return rotations
