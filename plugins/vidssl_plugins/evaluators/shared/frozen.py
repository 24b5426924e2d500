"""Classification of videos by a frozen network: one vector each, and a classifier on top."""

from __future__ import annotations

from typing import Any

from vidssl_cli.contract.metrics import confusion, standardise
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import Frozen
from vidssl_plugins.evaluators.shared.classes import Classes, class_report
from vidssl_plugins.evaluators.shared.classifiers import Classifier
from vidssl_plugins.evaluators.shared.settings import settle_frozen


def report_classifier(
    options: Frozen,
    study: Study,
    classifier: Classifier,
    *,
    standard: bool,
    least: int = 2,
    facts: dict[str, Any] | None = None,
) -> Report:
    """Report how well a classifier does on the mean features of test videos.

    Args:
        options: Of the protocol.
        study: Videos and their features.
        classifier: One of `classifiers`.
        standard: Whether features are standardised by those of the training videos.
        least: Training videos that each class must have.
        facts: Of the protocol, in addition to its settings.

    Raises:
        UsageError: there are too few training videos or classes, or no such tap.
    """
    classes, settings = Classes.of(study, options.name, least), settle_frozen(study, options)
    counts = {}
    tested = settings.tested(options.windows, options.hop)
    for weights in study.weights:
        gallery = settings.means(study, weights, study.train)
        queries = tested.means(study, weights, study.test)
        if standard:
            gallery, queries = (standardise(part, gallery) for part in (gallery, queries))
        predicted = classifier(gallery, classes.train, queries)
        counts[weights] = confusion(classes.test, predicted, len(classes.names))
    shown = classes.facts | tested.facts | {"standardise": standard} | (facts or {})
    return class_report(options.name, classes.names, counts, classes.chance, shown)
