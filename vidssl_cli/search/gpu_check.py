"""Whether FAISS finds on a GPU what it finds on the CPU."""

from __future__ import annotations

import numpy as np

from vidssl_cli.search.approximate import faiss_engine
from vidssl_cli.search.columns import Column
from vidssl_cli.search.factories import UnitVectors, build_faiss

_DIMENSION, _VECTORS, _QUERIES, _NEAREST = 64, 4096, 16, 10


def search_agreement(number: int) -> float:
    """Return which share of the nearest neighbours FAISS finds on a GPU and on the CPU.

    Raises:
        RuntimeError: FAISS cannot search there.
    """
    vectors = np.random.default_rng(0).standard_normal((_VECTORS, _DIMENSION), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    unscaled = np.stack([np.zeros(_DIMENSION), np.ones(_DIMENSION)])
    index = build_faiss(UnitVectors(Column([vectors]), unscaled), "IVF16,Flat")
    there, here = (
        faiss_engine(index, device)(vectors[:_QUERIES], _NEAREST)
        for device in (f"cuda:{number}", "cpu")
    )
    same = [len(np.intersect1d(a, b)) / _NEAREST for a, b in zip(there, here, strict=True)]
    return float(np.mean(same))
