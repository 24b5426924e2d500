"""Metrics of evaluation: accuracies, hits among the nearest neighbours, average precision.

Letters: N videos or gallery items, Q queries, K classes or neighbours, D features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Any, Literal

import numpy as np  # noqa: TID253 - plans and metrics are arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]
    Doubles = NDArray[np.float64]
    Ints = NDArray[np.int64]

_QUERIES_AT_ONCE = 256
"""Rows of the table of similarities (queries, N) that is in memory at a time."""


def clip_classes(probabilities: Sequence[Floats]) -> Ints:
    """Return the most probable class of every clip, given (clips, K) of each of N videos."""
    return np.concatenate([clips.argmax(-1) for clips in probabilities])


def video_classes(probabilities: Sequence[Floats]) -> Ints:
    """Return (N,), the most probable class of each video on average over its (clips, K)."""
    return np.array([clips.mean(0).argmax() for clips in probabilities], dtype=np.int64)


def clip_accuracy(probabilities: Sequence[Floats], labels: Ints) -> float:
    """Return the share of the clips of all videos whose most probable class is the video's.

    Args:
        probabilities: (clips, K) of each of N videos.
        labels: (N,) classes.
    """
    truth = np.repeat(labels, [len(clips) for clips in probabilities])
    return float((clip_classes(probabilities) == truth).mean())


def video_accuracy(probabilities: Sequence[Floats], labels: Ints) -> float:
    """Return the share of videos whose mean over clips is most probable for their class.

    Args:
        probabilities: (clips, K) of each of N videos.
        labels: (N,) classes.
    """
    return float((video_classes(probabilities) == labels).mean())


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Return (K, K): how often each class, a row, was predicted as each class, a column.

    Args:
        truth: (N,) classes from 0.
        predicted: (N,) predicted classes.
        classes: K.
    """
    counts = np.bincount(truth * classes + predicted, minlength=classes**2)
    return counts.reshape(classes, classes)


def class_accuracy(counts: Ints) -> Floats:
    """Return (K,), the recall of each class of a `confusion`; nan for a class without examples."""
    sizes = counts.sum(1)
    recall: Floats = np.where(sizes, counts.diagonal() / np.maximum(sizes, 1), np.nan)
    return recall


def mean_class_accuracy(counts: Ints) -> float:
    """Return the mean recall of the classes of a `confusion` that have examples."""
    return float(np.nanmean(class_accuracy(counts)))


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier predicts of N labelled videos, and how often it is right."""

    probabilities: Sequence[Floats]
    """(clips, K) of each video."""
    labels: Ints
    """(N,) true classes."""
    classes: int
    """K."""

    def accuracies(self) -> dict[str, float]:
        """Return ``clip_accuracy`` and ``video_accuracy``: the shares of both that are right."""
        return {
            "clip_accuracy": clip_accuracy(self.probabilities, self.labels),
            "video_accuracy": video_accuracy(self.probabilities, self.labels),
        }

    def confusion(self, level: Literal["clip", "video"] = "video") -> Ints:
        """Return the (K, K) `confusion` of videos, or of all their clips."""
        if level == "video":
            return confusion(self.labels, video_classes(self.probabilities), self.classes)
        truth = np.repeat(self.labels, [len(clips) for clips in self.probabilities])
        return confusion(truth, clip_classes(self.probabilities), self.classes)


def standardise(features: Floats, gallery: Floats) -> Floats:
    """Subtract the gallery's mean and divide by its deviation, for each dimension.

    Args:
        features: (…, D).
        gallery: (N, D).
    """
    return scale(features, scaling(gallery))


def scaling(gallery: Floats) -> Doubles:
    """Return (2, D): what to subtract from each dimension, and what to multiply it with.

    That is the mean of the gallery (N, D) and the inverse of its deviation (ddof 0), or 0 where it
    does not vary: such a dimension says nothing.
    """
    mean, deviation = gallery.mean(0, dtype=np.float64), gallery.std(0, dtype=np.float64)
    varies = deviation > 1e-9 * np.abs(gallery).max(0)
    return np.stack([mean, varies / np.where(varies, deviation, 1)])


def scale(features: Floats, scaling: Doubles) -> Doubles:
    """Apply (2, D) of `scaling` to features (…, D)."""
    scaled: Doubles = (features - scaling[0]) * scaling[1]
    return scaled


def cosine_ranking(queries: Floats, gallery: Floats, top: int) -> Ints:
    """Return the ``top`` most similar gallery items of each query, best first, as (Q, top).

    Equally similar items keep the order of the gallery. Similarities are computed in double and
    compared in single precision, so that equal items tie whatever the order of additions.
    """
    parts = list(cosine_rankings(queries, gallery, top))
    return np.concatenate([np.empty((0, min(top, len(gallery))), dtype=np.int64), *parts])


def cosine_rankings(queries: Floats, gallery: Floats, top: int) -> Iterator[Ints]:
    """Yield `cosine_ranking` in parts of a few hundred queries, for rankings of a whole gallery."""
    queries, gallery = unit(queries), unit(gallery)
    top = min(top, len(gallery))
    for begin in range(0, len(queries), _QUERIES_AT_ONCE):
        distances = -(queries[begin : begin + _QUERIES_AT_ONCE] @ gallery.T).astype(np.float32)
        farthest = np.partition(distances, top - 1, axis=1)[:, top - 1]
        ranking = np.empty((len(distances), top), dtype=np.int64)
        for row, (distance, limit) in enumerate(zip(distances, farthest, strict=True)):
            near = np.flatnonzero(distance <= limit)  # all that tie for the last place, too
            ranking[row] = near[np.argsort(distance[near], kind="stable")][:top]
        yield ranking


def topk_hits(ranking: Ints, queries: Ints, gallery: Ints, topk: Iterable[int]) -> dict[str, float]:
    """Return, as ``top<k>``, the share of queries with their class among the first k (Q, K).

    Args:
        ranking: (Q, K) gallery items, best first.
        queries: (Q,) classes.
        gallery: (N,) classes.
        topk: Numbers of neighbours; those above K count as K.
    """
    right = gallery[ranking] == queries[:, None]
    return {f"top{k}": float(right[:, :k].any(1).mean()) for k in topk}


def topk_chance(queries: Ints, gallery: Ints, topk: Iterable[int]) -> dict[str, float]:
    """Return the expected hits of a random ranking of this gallery for these queries.

    A query whose class has m of the N gallery items misses with all of k neighbours in
    C(N - m, k) of C(N, k) cases.
    """
    size = len(gallery)
    members = _members(queries, gallery)

    def chance(k: int) -> float:
        k = min(k, size)
        misses = {m: comb(size - m, k) / comb(size, k) for m in set(members)}
        return 1 - sum(misses[m] for m in members) / len(members)

    return {f"top{k}": chance(k) for k in topk}


def average_precision(right: NDArray[np.bool_]) -> Floats:
    """Return (Q,) the mean, over the items of a query's class, of the precision at their ranks.

    The precision at rank r is the share of right items among the first r. Ties count as ranked
    (scikit-learn gives equal scores one rank). A query whose class is not in the gallery counts 0.
    The mean over queries is mAP.

    Args:
        right: (Q, N) whether the item at each rank has the query's class.
    """
    found = right.cumsum(1)
    precision = found / np.arange(1, right.shape[1] + 1)
    mean: Floats = (precision * right).sum(1) / np.maximum(found[:, -1], 1)
    return mean


def average_precision_chance(queries: Ints, gallery: Ints) -> float:
    """Return the expected mean average precision of a random ranking of this gallery.

    For R of N items, the one at rank n is right in R / N of all rankings, and then each of the
    n - 1 before it is in (R - 1) / (N - 1).
    """
    size = len(gallery)
    harmonic = float((1 / np.arange(1, size + 1)).sum())

    def expected(members: int) -> float:
        others = (size - harmonic) * (members - 1) / (size - 1) if size > 1 else 0.0
        return (harmonic + others) / size if members else 0.0

    return float(np.mean([expected(members) for members in _members(queries, gallery)]))


def _members(queries: Ints, gallery: Ints) -> list[int]:
    """Return how many gallery items have the class of each query."""
    counts = Counter(gallery.tolist())
    return [counts[label] for label in queries.tolist()]


def unit(features: Floats) -> Doubles:
    """Scale vectors (…, D) to length 1; a vector of zeros stays."""
    doubles = features.astype(np.float64, copy=False)
    scaled: Doubles = doubles / np.maximum(np.linalg.norm(doubles, axis=-1, keepdims=True), 1e-12)
    return scaled
