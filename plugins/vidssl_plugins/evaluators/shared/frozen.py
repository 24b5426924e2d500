"""Classification of videos by a frozen network: one vector each, and a classifier on top."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.metrics import (
    clip_accuracy,
    confusion,
    standardise,
    video_classes,
)
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Layer, Study
from vidssl_plugins.evaluators.options.shared import Frozen, TestWindows
from vidssl_plugins.evaluators.shared.classes import Classes, accuracies, class_report
from vidssl_plugins.evaluators.shared.classifiers import Classifier
from vidssl_plugins.evaluators.shared.layers import by_layer
from vidssl_plugins.evaluators.shared.settings import Settings, readings_of, settle_frozen

if TYPE_CHECKING:
    from vidssl_plugins.evaluators.shared.fc import Predictor


class LearnClasses(Protocol):
    """Trains new layers."""

    def __call__(
        self, features: NDArray[np.float32], targets: NDArray[np.int64], /, *, classes: int
    ) -> Predictor:
        """Train them on features (N, D) and classes (N,) from 0 to ``classes`` - 1."""
        ...


def report_classifier(
    options: Frozen,
    study: Study,
    classifier: Classifier,
    *,
    standard: bool,
    least: int = 2,
    facts: dict[str, Any] | None = None,
    taps: Sequence[str] | None = None,
) -> Report:
    """Report how well a classifier does on the mean features of test videos.

    Args:
        options: Of the protocol.
        study: Videos and their features.
        classifier: One of `classifiers`; of one that ranks five classes or more, ``top5`` is
            reported as well.
        standard: Whether features are standardised by those of the training videos.
        least: Training videos that each class must have.
        facts: Of the protocol, in addition to its settings.
        taps: Layers to compare in a table of their own.

    Raises:
        UsageError: there are too few training videos or classes, or no such tap.
    """
    classes, settings = Classes.of(study, options.name, least), settle_frozen(study, options)
    sweep = readings_of(study, taps, settings.reading.pool)
    readings = list(dict.fromkeys([settings.reading, *sweep]))
    tested = settings.tested(options.windows, options.hop)
    found: dict[str, dict[Layer, NDArray[np.int64]]] = {}
    more: dict[str, dict[str, float]] = {}
    for weights in study.weights:
        galleries = settings.layer_means(study, weights, study.train, readings)
        queries = tested.layer_means(study, weights, study.test, readings)
        found[weights] = {}
        for reading, *parts in zip(readings, galleries, queries, strict=True):
            train, test = (standardise(part, parts[0]) for part in parts) if standard else parts
            predicted = classifier(train, classes.train, test)
            if predicted.ndim == 2:
                if predicted.shape[1] >= 5 and reading == settings.reading:
                    more[weights] = {"top5": _among_five(predicted, classes.test)}
                predicted = predicted[:, 0]
            found[weights][reading] = confusion(classes.test, predicted, len(classes.names))
    shown = classes.facts | tested.facts | {"standardise": standard} | (facts or {})
    leading = {weights: each[settings.reading] for weights, each in found.items()}
    report = class_report(options.name, classes.names, leading, classes.chance, shown, more)
    if more:
        commonest = np.bincount(classes.train).argsort(kind="stable")[::-1]
        report.chances["top5"] = _among_five(commonest[None], classes.test)
    if sweep:
        layers = {name: [accuracies(each[r]) for r in sweep] for name, each in found.items()}
        table, curves = by_layer(options.name, sweep, layers)
        report.tables.append(table)
        report.figures.append(curves)
    return report


def report_layers(
    options: TestWindows,
    study: Study,
    settings: Settings,
    learn: LearnClasses,
    facts: dict[str, Any],
) -> Report:
    """Report how well new layers do that are trained on clips; their mean decides on a video.

    Args:
        options: Of the protocol.
        study: Videos and their features.
        settings: How videos are embedded.
        learn: Trains the layers.
        facts: Of the protocol, in addition to its settings.

    Raises:
        UsageError: there are too few training videos or classes.
    """
    from vidssl_plugins.evaluators.shared.fc import classify_clips

    classes = Classes.of(study, options.name)
    count = len(classes.names)
    tested = settings.tested(options.windows, options.hop)
    counts, more = {}, {}
    for weights in study.weights:
        train = settings.clips(study, weights, study.train)
        test = tested.clips(study, weights, study.test)
        found = classify_clips(train, classes.train, test, partial(learn, classes=count))
        counts[weights] = confusion(classes.test, video_classes(found), count)
        more[weights] = {"clip_accuracy": clip_accuracy(found, classes.test)}
    shown = classes.facts | tested.facts | {"standardise": False} | facts
    report = class_report(options.name, classes.names, counts, classes.chance, shown, more)
    report.chances["clip_accuracy"] = classes.chance
    return report


def _among_five(ranked: NDArray[np.int64], truth: NDArray[np.int64]) -> float:
    return float((ranked[:, :5] == truth[:, None]).any(1).mean())
