"""Classification of videos by a frozen network: one vector each, and a classifier on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidssl_cli.contract.metrics import confusion, standardise
from vidssl_cli.contract.reports import Report
from vidssl_plugins.evaluators.classes import Classes, class_report
from vidssl_plugins.evaluators.classifiers import nearest, svm
from vidssl_plugins.evaluators.settings import settle

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import EvaluatorOptions
    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.classifiers import Classifier
    from vidssl_plugins.evaluators.hooks_supervised import KNN, SVM


def judge(
    options: EvaluatorOptions,
    study: Study,
    classifier: Classifier,
    *,
    standard: bool,
    least: int = 2,
    facts: dict[str, Any] | None = None,
) -> Report:
    """Report how well a classifier tells the mean features of test videos.

    Args:
        options: Of the protocol.
        study: What it works on.
        classifier: See `classifiers`.
        standard: Whether features are standardised by those of the training videos.
        least: Training videos that each class must have.
        facts: Of the protocol, beside its settings.

    Raises:
        UsageError: there are too few training videos or classes, or no such tap.
    """
    classes, settings = Classes.of(study, options.name, least), settle(options, study)
    counts = {}
    for weights in study.weights:
        gallery, queries = (settings.means(study, weights, p) for p in (study.train, study.test))
        if standard:
            gallery, queries = (standardise(part, gallery) for part in (gallery, queries))
        predicted = classifier(gallery, classes.train, queries)
        counts[weights] = confusion(classes.test, predicted, len(classes.names))
    said = classes.facts | settings.facts | {"standardise": standard} | (facts or {})
    return class_report(options.name, classes.names, counts, classes.chance, said)


class SVMEvaluator:
    """Linear SVMs, one against the rest."""

    def __init__(self, options: SVM) -> None:
        self.options = options

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``; see `judge`."""
        classifier = svm(self.options.penalties, self.options.seed)
        return judge(self.options, study, classifier, standard=True)


class KNNEvaluator:
    """The vote of the nearest training videos."""

    def __init__(self, options: KNN) -> None:
        self.options = options

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``; see `judge`."""
        options = self.options
        return judge(
            options,
            study,
            nearest(options.neighbours, options.temperature),
            standard=settle(options, study).standardise,
            least=1,
            facts={"neighbours": options.neighbours},
        )
