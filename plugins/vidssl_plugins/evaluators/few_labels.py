"""Accuracy with eight labels of a class, as MVEB measures it (mteb's AbsTaskClassification)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import Frozen
from vidssl_plugins.evaluators.shared.classes import Classes
from vidssl_plugins.evaluators.shared.classifiers import need_scikit_learn
from vidssl_plugins.evaluators.shared.settings import settle_frozen


class FewLabelsEvaluator:
    """Trains logistic regression again and again, on a few labelled videos of each class."""

    def __init__(self, options: Frozen, shots: int, draws: int, seed: int) -> None:
        self.options, self.shots, self.draws, self.seed = options, shots, draws, seed

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``, ``f1`` and with two classes ``ap``, means over the draws.

        Chance names the commonest class of the training videos.

        Raises:
            UsageError: scikit-learn is missing, or there are too few training videos or classes.
        """
        need_scikit_learn()
        classes, settings = Classes.of(study, "few_labels", 1), settle_frozen(study, self.options)
        tested = settings.tested(self.options.windows, self.options.hop)
        draws = list(drawn(classes.train, self.shots, self.draws, self.seed))
        rows, spread = [], []
        for weights in study.weights:
            train = settings.means(study, weights, study.train)
            test = tested.means(study, weights, study.test)
            found = [
                scores(classes.test, predict(train[d], classes.train[d], test, self.seed))
                for d in draws
            ]
            means = {name: float(np.mean([each[name] for each in found])) for name in found[0]}
            rows.append({"weights": weights} | means)
            spread += [
                [weights, name, round(100 * mean, 1), _deviation([each[name] for each in found])]
                for name, mean in means.items()
            ]
        commonest = np.full_like(classes.test, np.bincount(classes.train).argmax())
        chances = scores(classes.test, commonest)
        settled = {"standardise": False, "shots": self.shots, "draws": self.draws}
        facts = classes.facts | tested.facts | settled
        columns = ["weights", "metric", "mean", "deviation"]
        table = Table("over the draws, percent", columns, spread)
        return Report(rows, chances["accuracy"], chances, facts, [table])


def drawn(
    classes: NDArray[np.int64], shots: int, draws: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the training videos of each draw: the first of every class in a shuffled order.

    mteb shuffles what the draw before left, always with the same seed.
    """
    order = list(range(len(classes)))
    for _ in range(draws):
        np.random.RandomState(seed).shuffle(order)
        taken = np.array(order)
        firsts = [taken[classes[taken] == k][:shots] for k in np.unique(classes)]
        yield taken[np.isin(taken, np.concatenate(firsts))]


def predict(
    train: NDArray[np.float32],
    classes: NDArray[np.int64],
    test: NDArray[np.float32],
    seed: int,
) -> NDArray[np.int64]:
    """Return the classes (M,) that logistic regression on few videos gives test videos (M, D)."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # mteb stops at 100 steps as well
        model = LogisticRegression(max_iter=100, random_state=seed).fit(train, classes)
        predicted: NDArray[np.int64] = model.predict(test)
    return predicted


def scores(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Return ``accuracy``, macro ``f1``, and of two classes the average precision ``ap``.

    As in mteb, ``ap`` is of the predicted classes, 0 or 1, and not of probabilities.
    """
    from sklearn.metrics import average_precision_score, f1_score

    found = {
        "accuracy": float((truth == predicted).mean()),
        "f1": float(f1_score(truth, predicted, average="macro", zero_division=0)),
    }
    if len(np.unique(truth)) == 2:
        second = truth == truth.max()
        found["ap"] = float(average_precision_score(second, predicted == truth.max()))
    return found


def _deviation(values: list[Any]) -> float | None:
    return round(100 * float(np.std(values, ddof=1)), 1) if len(values) > 1 else None
