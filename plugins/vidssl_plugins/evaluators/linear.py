"""Linear classification of frozen features (the linear probe)."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.errors import UsageError
from vidssl_cli.hooks import Report
from vidssl_cli.metrics import standardise
from vidssl_plugins.evaluators.settings import settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.hooks import Study
    from vidssl_plugins.evaluators.hooks import Linear

FOLDS = 5
"""Of the cross-validation, or as many as the smallest class has training videos."""


class LinearEvaluator:
    """Logistic regression from the mean feature of a video to its class."""

    def __init__(self, options: Linear) -> None:
        self.options = options

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights; chance always names the commonest class.

        Raises:
            UsageError: scikit-learn is missing, or there are too few training videos or classes.
        """
        train, test = ([str(v.label) for v in part] for part in (study.train, study.test))
        counts = Counter(train)
        if len(counts) < 2 or min(counts.values()) < 2:
            raise UsageError(
                f"linear found {len(train)} training videos of {len(counts)} classes, "
                f"{min(counts.values())} of the smallest",
                hint="it needs two classes or more with two training videos each",
            )
        settings = settle(self.options, study)
        rows: list[dict[str, Any]] = []
        for weights in study.weights:
            features = [settings.means(study, weights, part) for part in (study.train, study.test)]
            gallery, queries = (standardise(part, features[0]) for part in features)
            predicted = self._predict(gallery, train, queries, min(FOLDS, min(counts.values())))
            rows.append({"weights": weights, "accuracy": float(np.mean(predicted == test))})
        chance = Counter(test)[counts.most_common(1)[0][0]] / len(test)
        facts: dict[str, Any] = {"train": len(train), "test": len(test), "classes": len(counts)}
        return Report(rows, chance, {"accuracy": chance}, facts | settings.facts)

    def _predict(
        self, gallery: NDArray[Any], classes: list[str], queries: NDArray[Any], folds: int
    ) -> NDArray[Any]:
        try:
            from sklearn.exceptions import ConvergenceWarning
            from sklearn.linear_model import LogisticRegression
            from sklearn.model_selection import GridSearchCV
        except ImportError:
            raise UsageError(
                "linear needs scikit-learn, which is not installed",
                hint="pip install 'vidssl[probe]'",
            ) from None
        search = GridSearchCV(
            LogisticRegression(max_iter=500), {"C": list(self.options.penalties)}, cv=folds
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # separable: any end will do
            search.fit(gallery, classes)
        predicted: NDArray[Any] = search.predict(queries)
        return predicted
