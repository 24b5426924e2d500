"""Leave-one-video-out classification of scenes (YUPENN; Wang's thesis 2020, 2.6 and 3.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import confusion
from vidssl_plugins.evaluators.shared.classes import class_report
from vidssl_plugins.evaluators.shared.classifiers import linear_svm
from vidssl_plugins.evaluators.shared.overlapping import overlapping, unit_means
from vidssl_plugins.evaluators.shared.settings import reading_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.reports import Report
    from vidssl_cli.contract.study import Pool, Study


class SceneEvaluator:
    """Classifies every video by a linear SVM that is trained on all others."""

    def __init__(self, tap: str | None, pool: Pool | None, hop: int, penalty: float) -> None:
        self.tap, self.pool, self.hop, self.penalty = tap, pool, hop, penalty

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``, also of each class, for each set of weights.

        Chance always names the commonest class.

        Raises:
            UsageError: scikit-learn is missing, there is no such tap, or a video would have no
                other of its class to learn from.
        """
        svm = linear_svm(self.penalty)
        videos = [video for video in study.data if video.label is not None]
        names, classes = np.unique([str(video.label) for video in videos], return_inverse=True)
        sizes = np.bincount(classes, minlength=1)
        if len(names) < 2 or sizes.min() < 2:
            raise UsageError(
                f"scene found {len(videos)} labelled videos of {len(names)} classes, "
                f"{sizes.min()} of the smallest",
                hint="it needs two classes or more with two videos each",
            )
        reading = reading_of(study, self.tap, self.pool)
        looks = overlapping(study, videos, self.hop)
        counts = {}
        for weights in study.weights:
            (features,) = unit_means(study, weights, looks, [reading])
            given = leave_one_out(svm, features, classes)
            counts[weights] = confusion(classes, given, len(names))
        facts = {
            "videos": len(videos),
            "classes": len(names),
            "hop": self.hop,
            "tap": reading.tap,
            "pool": reading.pool,
            "C": self.penalty,
        }
        chance = float(sizes.max() / len(videos))
        return class_report("scene", names.tolist(), counts, chance, facts)


def leave_one_out(
    svm: Any, features: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the class that each item gets from a linear model that was fitted to all others.

    A linear model with an L2 penalty depends only on inner products of its items. So (N, D)
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
