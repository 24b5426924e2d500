"""Leave-one-video-out classification of scenes (YUPENN; Wang's thesis 2020, 2.6 and 3.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.errors import UsageError
from vidssl_cli.hooks import Confusion, Report, Table
from vidssl_plugins.evaluators.linear_svm import linear_svm
from vidssl_plugins.evaluators.overlapping import overlapping, unit_means
from vidssl_plugins.evaluators.settings import settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.hooks import Study
    from vidssl_plugins.evaluators.hooks_datasets import Scene


class SceneEvaluator:
    """Asks a linear SVM about every video, after training it on all others."""

    def __init__(self, options: Scene) -> None:
        self.options = options

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights, and which class is taken for which.

        Raises:
            UsageError: scikit-learn is missing, there is no such tap, or a video would have no
                other of its class to learn from.
        """
        svm = linear_svm("scene", self.options.penalty)
        videos = [video for video in study.data if video.label is not None]
        names, classes = np.unique([str(video.label) for video in videos], return_inverse=True)
        sizes = np.bincount(classes, minlength=1)
        if len(names) < 2 or sizes.min() < 2:
            raise UsageError(
                f"scene found {len(videos)} labelled videos of {len(names)} classes, "
                f"{sizes.min()} of the smallest",
                hint="it needs two classes or more with two videos each",
            )
        reading = settle(self.options, study).reading
        looks = overlapping(study, videos, self.options.hop)
        rows: list[dict[str, Any]] = []
        recalls: list[NDArray[np.float64]] = []
        figures: list[Any] = []
        for weights in study.weights:
            (features,) = unit_means(study, weights, looks, [reading])
            counts = np.zeros((len(names), len(names)), dtype=int)
            np.add.at(counts, (classes, leave_one_out(svm, features, classes)), 1)
            rows.append({"weights": weights, "accuracy": float(counts.trace() / len(videos))})
            recalls.append(counts.diagonal() / sizes)
            figures.append(Confusion(f"{weights} weights", names.tolist(), counts.tolist()))
        table = Table(
            "accuracy of each class, percent",
            ["class", "videos", *study.weights],
            [
                [str(name), int(size), *(round(100 * float(recall), 1) for recall in each)]
                for name, size, *each in zip(names, sizes, *recalls, strict=True)
            ],
        )
        chance = float(sizes.max() / len(videos))
        facts = {
            "videos": len(videos),
            "classes": len(names),
            "hop": self.options.hop,
            "tap": reading.tap,
            "pool": reading.pool,
            "C": self.options.penalty,
        }
        return Report(rows, chance, {"accuracy": chance}, facts, [table], figures)


def leave_one_out(
    svm: Any, features: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the class that each item gets from a linear model that was fitted to all others.

    A linear model with an L2 penalty sees nothing but inner products of its items. So (N, D)
    features are first turned into at most N coordinates with the same inner products, which makes
    one fit for each item affordable: YUPENN's 420 take about a minute, however large D is.

    Args:
        svm: A linear model of scikit-learn with an L2 penalty.
        features: (N, D).
        classes: (N,).
    """
    from sklearn.model_selection import LeaveOneOut, cross_val_predict

    left, lengths, _ = np.linalg.svd(features, full_matrices=False)
    given: NDArray[np.int64] = cross_val_predict(svm, left * lengths, classes, cv=LeaveOneOut())
    return given
