"""Classification from frozen features: logistic regression, or new fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from vidssl_cli.contract.metrics import clip_accuracy, confusion, video_classes
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import FC, Frozen
from vidssl_plugins.evaluators.shared.classes import Classes, class_report
from vidssl_plugins.evaluators.shared.classifiers import logistic
from vidssl_plugins.evaluators.shared.frozen import report_classifier
from vidssl_plugins.evaluators.shared.settings import settle_frozen


class LinearEvaluator:
    """The linear probe, and the deeper one of temporal transformations."""

    def __init__(
        self,
        options: Frozen,
        head: Literal["logistic", "fc"],
        penalties: Sequence[float],
        fc: FC,
        taps: Sequence[str] | None,
    ) -> None:
        self.options, self.head, self.penalties, self.fc = options, head, penalties, fc
        self.taps = taps

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights; chance always names the commonest class.

        Raises:
            UsageError: scikit-learn is missing, or there are too few training videos or classes.
        """
        if self.head == "fc":
            return self._layers(study)
        classifier = logistic(self.penalties)
        return report_classifier(
            self.options,
            study,
            classifier,
            standard=True,
            facts={"head": "logistic"},
            taps=self.taps,
        )

    def _layers(self, study: Study) -> Report:
        """Train layers on clips; report ``clip_accuracy`` too."""
        from vidssl_plugins.evaluators.shared.fc import classify_clips

        classes, settings = Classes.of(study, "linear"), settle_frozen(study, self.options)
        tested = settings.tested(self.options.windows, self.options.hop)
        counts, more = {}, {}
        for weights in study.weights:
            train = settings.clips(study, weights, study.train)
            test = tested.clips(study, weights, study.test)
            probabilities = classify_clips(
                train, classes.train, test, self.fc, classes=len(classes.names), device=study.device
            )
            found = confusion(classes.test, video_classes(probabilities), len(classes.names))
            counts[weights] = found
            more[weights] = {"clip_accuracy": clip_accuracy(probabilities, classes.test)}
        facts = classes.facts | tested.facts | {"standardise": False, "head": "fc"}
        report = class_report("linear", classes.names, counts, classes.chance, facts, more)
        report.chances["clip_accuracy"] = classes.chance
        return report
