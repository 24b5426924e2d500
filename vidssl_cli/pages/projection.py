"""Projections of vectors to a plane.

Letters: N vectors, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError

Projection = Literal["pca", "umap"]

NEIGHBOURS = 15
"""Of each vector that UMAP keeps close, its own default."""
_SPARE, _ROUNDS = 6, 30
"""Directions beyond the two, and passes over the vectors, that make subspace iteration exact."""


@dataclass(frozen=True)
class Plane:
    """Projected vectors."""

    points: NDArray[np.float64]
    """(N, 2) to the right and up."""
    variance: float | None
    """Share of the variance that both axes hold, from 0 to 1; unknown for UMAP."""


def lay_out(vectors: NDArray[np.float64], projection: Projection) -> Plane:
    """Project vectors of length 1; the same vectors always give the same plane.

    Args:
        vectors: (N, D)
        projection: ``pca``, the two directions of largest variance, or ``umap`` (McInnes et al.
            2018, https://arxiv.org/abs/1802.03426) by cosine distance, which keeps neighbours
            together; its large distances mean nothing.

    Raises:
        UsageError: UMAP is not installed, or there are too few vectors for it.
    """
    return _umap(vectors) if projection == "umap" else _pca(vectors)


def _pca(vectors: NDArray[np.float64]) -> Plane:
    mean, directions = principal(vectors)
    centred = vectors - mean
    total = float(np.square(centred).sum())
    points = centred @ directions
    return Plane(points, float(np.square(points).sum()) / total if total else None)


def principal(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (D,) of vectors, and the two directions (D, 2) of largest variance.

    A direction along which nothing varies is 0.
    """
    mean = vectors.mean(0)
    centred = vectors - mean
    found = np.zeros((centred.shape[1], 2))
    if not centred.any():
        return mean, found
    # Subspace iteration: a full decomposition of long vectors would take minutes.
    width = min(2 + _SPARE, *centred.shape)
    basis = np.random.default_rng(0).normal(size=(centred.shape[1], width))
    for _ in range(_ROUNDS):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    directions = basis @ np.linalg.svd(centred @ basis, full_matrices=False)[2][:2].T
    # A direction and its opposite are equally good: the largest loading points right, or up.
    largest = np.abs(directions).argmax(0)
    directions *= np.sign(directions[largest, range(len(largest))])
    found[:, : len(largest)] = directions
    return mean, found


def _umap(vectors: NDArray[np.float64]) -> Plane:
    try:
        from umap import UMAP
    except ImportError:
        raise UsageError(
            "UMAP is not installed",
            where="--projection",
            hint="pip install umap-learn, or take pca, which needs nothing",
        ) from None
    if len(vectors) < 2 * NEIGHBOURS:
        raise UsageError(
            f"UMAP cannot make a map of {len(vectors)} videos",
            where="--projection",
            hint=f"it needs {2 * NEIGHBOURS} or more; take pca",
        )
    # One process and one seed: the map is the same every time.
    model = UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=0, n_jobs=1)
    return Plane(np.asarray(model.fit_transform(vectors), np.float64), None)
