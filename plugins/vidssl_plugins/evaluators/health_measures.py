"""What is measured of features without labels: variance, distances, neighbours in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.contract.metrics import cosine_ranking, standardise, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

ROUNDING = 1e-6
"""Deviations below this share of the largest number are rounding."""


def deviations(features: Floats) -> Floats:
    """Return the deviation (D,) of each dimension of (N, D); 0 where it is rounding."""
    features = features.astype(np.float64)
    found = features.std(0)
    real: Floats = found * (found > ROUNDING * np.abs(features).max())
    return real


def spectrum(features: Floats) -> Floats:
    """Return the shares of variance, descending, of the principal directions of (N, D).

    All are 0 where nothing varies.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    centred *= deviations(features) > 0
    few, many = sorted(centred.shape)
    gram = centred.T @ centred if many == len(centred) else centred @ centred.T
    values = np.linalg.eigvalsh(gram)[::-1].clip(min=0)
    return np.asarray(values[:few] / max(values.sum(), np.finfo(float).tiny))


def effective_rank(features: Floats) -> float:
    """Return in how many directions (N, D) vary: exp of the entropy of the covariance's spectrum.

    Roy, Vetterli 2007, "The effective rank: a measure of effective dimensionality", definition 1,
    of the covariance matrix. From 1 to min(N - 1, D); 0 if nothing varies.
    """
    shares = spectrum(features)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def alignment(clips: Sequence[Floats]) -> float:
    """Return the mean squared distance of two clips of one video, from 0 to 4.

    Wang, Isola 2020, equation of L_align with alpha 2, over all pairs of clips (clips, D) of each
    video, scaled to length 1.
    """
    distances = []
    for of_video in map(unit, clips):
        first, second = np.triu_indices(len(of_video), 1)
        distances.append(np.square(of_video[first] - of_video[second]).sum(1).mean())
    return float(np.mean(distances))


def uniformity(features: Floats) -> float:
    """Return how evenly (N, D) lie on the sphere: the lower the better, 0 if all are one point.

    Wang, Isola 2020, L_uniform with t 2: the log of the mean, over pairs, of exp(-2 d^2).
    """
    points = unit(features)
    first, second = np.triu_indices(len(points), 1)
    squared = (2 - 2 * (points @ points.T)[first, second]).clip(min=0)
    return float(np.log(np.exp(-2 * squared).mean()))


def neighbours(features: Floats, count: int) -> NDArray[np.int64]:
    """Return (N, count), for each of (N, D) the nearest others by cosine, standardised."""
    points = standardise(features, features)
    ranking = cosine_ranking(points, points, count + 1)
    itself = ranking == np.arange(len(points))[:, None]
    itself[~itself.any(1), -1] = True  # one of more than count + 1 equals: leave out any
    others: NDArray[np.int64] = ranking[~itself].reshape(len(points), count)
    return others


def overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Return the share of neighbours (N, count) that are in both."""
    both = [len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)]
    return float(np.mean(both) / one.shape[1])
