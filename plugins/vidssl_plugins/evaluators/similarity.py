"""Action similarity labelling (ASLAN; Wang's thesis 2020, section 3.6.4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.metrics import standardise
from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import Pool, Study
from vidssl_plugins.evaluators.shared.classifiers import linear_svm
from vidssl_plugins.evaluators.shared.overlapping import overlapping, unit_means
from vidssl_plugins.evaluators.shared.settings import readings_of
from vidssl_plugins.evaluators.similarity_pairs import Pairs, read_pairs

Floats = NDArray[np.float64]

FLOOR = 1e-10
"""Smallest argument of a logarithm."""
NEGATIVE = 0.01
"""Share of negative values above which the report speaks of them."""


class SimilarityEvaluator:
    """Classifies by 12 (dis)similarities at each layer whether two videos show the same action."""

    def __init__(
        self, pairs: Path, taps: Sequence[str], pool: Pool | None, hop: int, penalty: float
    ) -> None:
        self.pairs, self.taps, self.pool, self.hop, self.penalty = pairs, taps, pool, hop, penalty

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` and ``auc``, means over the folds, for each set of weights.

        Raises:
            UsageError: scikit-learn is missing, there is no such tap, or the table of pairs does
                not fit the data.
        """
        svm = linear_svm(self.penalty)
        readings = readings_of(study, self.taps, self.pool)
        pairs = read_pairs(self.pairs, study.data)
        named, places = np.unique(pairs.videos, return_inverse=True)
        looks = overlapping(study, [study.data[place] for place in named], self.hop)
        rows: list[dict[str, Any]] = []
        accuracies: list[Floats] = []
        chance = max(float(pairs.same.mean()), 1 - float(pairs.same.mean()))
        facts: dict[str, Any] = {
            "pairs": len(pairs.same),
            "videos": len(named),
            "hop": self.hop,
            "taps": " ".join(self.taps),
            "pool": self.pool or study.evaluation.pool,
            "C": self.penalty,
        }
        for weights in study.weights:
            means = unit_means(study, weights, looks, readings)
            if (below := share_below_zero(means)) > NEGATIVE:
                facts[f"negative with {weights} weights"] = f"{below:.1%} (counted as 0)"
            values = np.array(
                [
                    np.concatenate([similarities(each[i], each[j]) for each in means])
                    for i, j in places.reshape(-1, 2)
                ]
            )
            accuracy, auc = cross_validate(svm, values, pairs)
            rows.append(
                {"weights": weights, "accuracy": float(accuracy.mean()), "auc": float(auc.mean())}
            )
            accuracies.append(accuracy)
        table = _fold_table(pairs.folds, study.weights, accuracies)
        return Report(rows, chance, {"accuracy": chance, "auc": 0.5}, facts, [table])


def similarities(x: Floats, y: Floats) -> Floats:
    """Compare vectors in 12 ways (Wang's thesis 2020, table 3.9), each symmetric in both.

    They are made for vectors without negative values; these count as 0. Where both values are 0, a
    quotient by their sum counts 0. Arguments of logarithms are at least 1e-10. A quotient by a
    product of norms or sums is 0 if that is. The sixth is chi-square; the thesis prints a
    product in place of the difference.

    Args:
        x: (…, D).
        y: (…, D).

    Returns:
        (…, 12).
    """
    x, y = np.maximum(x, 0), np.maximum(y, 0)
    product, total, difference = x * y, x + y, x - y
    share = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    larger_x, larger_y = np.maximum(x, FLOOR), np.maximum(y, FLOOR)
    lengths = np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1)
    sums = x.sum(-1) * y.sum(-1)
    columns = [
        product.sum(-1),
        np.sqrt(product.sum(-1)),
        np.sqrt(np.sqrt(product).sum(-1)),
        np.sqrt((product * share).sum(-1)),
        _quotient(product.sum(-1), lengths),
        np.sqrt((difference**2 * share).sum(-1)),
        np.abs(difference).sum(-1),
        np.sqrt(((np.sqrt(x) - np.sqrt(y)) ** 2).sum(-1)),
        ((larger_x - larger_y) * np.log(larger_x / larger_y)).sum(-1) / 2,
        np.linalg.norm(difference, axis=-1),
        (np.sqrt(np.maximum(x, y) * share)).sum(-1),
        _quotient(np.minimum(x, y).sum(-1), sums),
    ]
    return np.stack(columns, axis=-1)


def share_below_zero(means: Sequence[Floats]) -> float:
    """Return the share of negative values among all of all layers."""
    return sum(int((each < 0).sum()) for each in means) / sum(each.size for each in means)


def cross_validate(svm: Any, values: Floats, pairs: Pairs) -> tuple[Floats, Floats]:
    """Train on all folds but one and test on that, in turn.

    Args:
        svm: A linear SVM of scikit-learn.
        values: (P, D), standardised by the mean and deviation of each training part.
        pairs: The P pairs.

    Returns:
        (folds,) accuracy and (folds,) area under the ROC curve.
    """
    from sklearn.metrics import roc_auc_score

    accuracies, areas = [], []
    for fold in pairs.folds:
        asked = pairs.fold == fold
        learned = values[~asked]
        svm.fit(standardise(learned, learned), pairs.same[~asked])
        scores = svm.decision_function(standardise(values[asked], learned))
        accuracies.append(np.mean((scores > 0) == pairs.same[asked]))
        areas.append(roc_auc_score(pairs.same[asked], scores))
    return np.array(accuracies), np.array(areas)


def _quotient(above: Floats, below: Floats) -> Floats:
    quotient: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return quotient


def _fold_table(folds: Sequence[str], weights: Sequence[str], accuracies: list[Floats]) -> Table:
    """Return accuracies by fold, their mean and its standard error (that of a sample, ddof 1)."""
    each = np.stack(accuracies, axis=1)
    error = each.std(0, ddof=1) / np.sqrt(len(folds))
    named = [*zip(folds, each, strict=True), ("mean", each.mean(0)), ("standard error", error)]
    rows: list[list[str | float]] = [
        [name, *(round(100 * float(value), 2) for value in row)] for name, row in named
    ]
    return Table("accuracy of each fold, percent", ["fold", *weights], rows)
