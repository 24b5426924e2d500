"""Accuracy against the number of labelled videos."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import standardise
from vidssl_cli.contract.reports import Curves, Report, Table
from vidssl_plugins.evaluators.classes import Classes
from vidssl_plugins.evaluators.classifiers import logistic, nearest, svm
from vidssl_plugins.evaluators.settings import settle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.classifiers import Classifier
    from vidssl_plugins.evaluators.hooks_supervised import LowShot


class LowShotEvaluator:
    """Trains a classifier again and again, on more and more labelled videos."""

    def __init__(self, options: LowShot) -> None:
        self.options = options
        self.shots = sorted(set(options.shots))

    def __call__(self, study: Study) -> Report:
        """Report ``<n>_shot`` for each number of labelled videos of a class, and ``all``.

        Each is the mean over the draws, whose deviation (ddof 1) stands in a table. All weights see
        the same draws.

        Raises:
            UsageError: scikit-learn is missing, or a class has too few training videos.
        """
        options = self.options
        classes, settings = Classes.of(study, options.name, 1), settle(options, study)
        smallest = int(np.bincount(classes.train)[np.unique(classes.train)].min())
        if self.shots[-1] > smallest:
            fewer = [shots for shots in self.shots if shots <= smallest] or [smallest]
            raise UsageError(
                f"low_shot was asked for {self.shots[-1]} labelled videos of each class, and the "
                f"smallest class has {smallest}",
                hint=f"--set shots=[{','.join(map(str, fewer))}]",
            )
        classifier = self._classifier()
        each = len(classes.train) / len(np.unique(classes.train))
        found: dict[str, dict[str, list[float]]] = {}
        for weights in study.weights:
            parts = [settings.means(study, weights, part) for part in (study.train, study.test)]
            train, test = (standardise(part, parts[0]) for part in parts)
            found[weights] = {
                name: [
                    float((classifier(train[d], classes.train[d], test) == classes.test).mean())
                    for d in draws
                ]
                for name, draws in self._draws(classes.train)
            }
        return self._report(found, classes, each, settings.facts)

    def _classifier(self) -> Classifier:
        match self.options.classifier:
            case "logistic":
                return logistic([self.options.penalty])
            case "svm":
                return svm([self.options.penalty], self.options.seed)
            case "knn":
                return nearest()

    def _draws(self, classes: NDArray[np.int64]) -> Iterator[tuple[str, list[NDArray[np.int64]]]]:
        """Yield, by name, the videos of each draw."""
        members = [np.flatnonzero(classes == k) for k in np.unique(classes)]
        for shots in self.shots:
            addresses = [[self.options.seed, shots, draw] for draw in range(self.options.draws)]
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
            f"low_shot, {self.options.classifier}",
            "labelled videos of a class",
            "accuracy",
            lines | {"chance": level},
        )
        said = (
            classes.facts
            | facts
            | {
                "standardise": True,
                "classifier": self.options.classifier,
                "draws": self.options.draws,
            }
        )
        return Report(
            [{"weights": weights} | named for weights, named in means.items()],
            classes.chance,
            dict.fromkeys(next(iter(means.values())), classes.chance),
            said,
            [Table("accuracy over the draws, percent", columns, spread)],
            [curves],
        )


def _percent(value: Any) -> float:
    return round(100 * float(value), 1)


def _deviation(values: list[float]) -> float | None:
    return _percent(np.std(values, ddof=1)) if len(values) > 1 else None
