"""Accuracy against the number of labelled videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import standardise
from vidssl_cli.contract.reports import Curves, Report, Table
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import Frozen
from vidssl_plugins.evaluators.shared.classes import Classes
from vidssl_plugins.evaluators.shared.classifiers import Classifier, logistic, nearest, svm
from vidssl_plugins.evaluators.shared.settings import settle_frozen


class LowShotEvaluator:
    """Trains a classifier again and again, on more and more labelled videos."""

    def __init__(
        self,
        options: Frozen,
        *,
        classifier: Literal["logistic", "svm", "knn"],
        shots: Sequence[int],
        draws: int,
        penalty: float,
        seed: int,
    ) -> None:
        self.options, self.classifier, self.shots = options, classifier, sorted(set(shots))
        self.draws, self.penalty, self.seed = draws, penalty, seed

    def __call__(self, study: Study) -> Report:
        """Report ``<n>_shot`` for each number of labelled videos of a class, and ``all``.

        Each is the mean over the draws, whose deviation (ddof 1) is in a table. All weights get the
        same draws.

        Raises:
            UsageError: scikit-learn is missing, or a class has too few training videos.
        """
        classes, settings = Classes.of(study, "low_shot", 1), settle_frozen(study, self.options)
        tested = settings.tested(self.options.windows, self.options.hop)
        smallest = int(np.bincount(classes.train)[np.unique(classes.train)].min())
        if self.shots[-1] > smallest:
            fewer = [shots for shots in self.shots if shots <= smallest] or [smallest]
            raise UsageError(
                f"low_shot needs {self.shots[-1]} labelled videos of each class, and the "
                f"smallest class has {smallest}",
                hint=f"--set shots=[{','.join(map(str, fewer))}]",
            )
        classifier = self._classifier()
        each = len(classes.train) / len(np.unique(classes.train))
        found: dict[str, dict[str, list[float]]] = {}
        for weights in study.weights:
            gallery = settings.means(study, weights, study.train)
            parts = [gallery, tested.means(study, weights, study.test)]
            train, test = (standardise(part, parts[0]) for part in parts)
            found[weights] = {
                name: [
                    float((classifier(train[d], classes.train[d], test) == classes.test).mean())
                    for d in draws
                ]
                for name, draws in self._draws(classes.train)
            }
        return self._report(found, classes, each, tested.facts)

    def _classifier(self) -> Classifier:
        match self.classifier:
            case "logistic":
                return logistic([self.penalty])
            case "svm":
                return svm([self.penalty], self.seed)
            case "knn":
                return nearest()

    def _draws(self, classes: NDArray[np.int64]) -> Iterator[tuple[str, list[NDArray[np.int64]]]]:
        """Yield, by name, the videos of each draw."""
        members = [np.flatnonzero(classes == k) for k in np.unique(classes)]
        for shots in self.shots:
            addresses = [[self.seed, shots, draw] for draw in range(self.draws)]
            yield (
                f"{shots}_shot",
                [
                    np.concatenate([random.choice(own, shots, replace=False) for own in members])
                    for random in map(np.random.default_rng, addresses)
                ],
            )
        yield "all", [np.arange(len(classes))]

    def _report(
        self,
        found: dict[str, dict[str, list[float]]],
        classes: Classes,
        each: float,
        facts: dict[str, Any],
    ) -> Report:
        means = {
            weights: {name: float(np.mean(values)) for name, values in named.items()}
            for weights, named in found.items()
        }
        spread = [
            [weights, name, len(values), _percent(np.mean(values)), _deviation(values)]
            for weights, named in found.items()
            for name, values in named.items()
        ]
        columns = ["weights", "labels", "draws", "mean", "deviation"]
        places = [*self.shots, each]
        level = [(places[0], classes.chance), (places[-1], classes.chance)]
        lines = {w: list(zip(places, named.values(), strict=True)) for w, named in means.items()}
        curves = Curves(
            f"low_shot, {self.classifier}",
            "labelled videos of a class",
            "accuracy",
            lines | {"chance": level},
        )
        shown = (
            classes.facts
            | facts
            | {
                "standardise": True,
                "classifier": self.classifier,
                "draws": self.draws,
            }
        )
        return Report(
            [{"weights": weights} | named for weights, named in means.items()],
            classes.chance,
            dict.fromkeys(next(iter(means.values())), classes.chance),
            shown,
            [Table("accuracy over the draws, percent", columns, spread)],
            [curves],
        )


def _percent(value: Any) -> float:
    return round(100 * float(value), 1)


def _deviation(values: list[float]) -> float | None:
    return _percent(np.std(values, ddof=1)) if len(values) > 1 else None
