"""Classification from frozen features: logistic regression, or new fully connected layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.metrics import clip_accuracy, confusion, video_classes
from vidssl_plugins.evaluators.classes import Classes, class_report
from vidssl_plugins.evaluators.classifiers import logistic
from vidssl_plugins.evaluators.frozen import judge
from vidssl_plugins.evaluators.settings import settle

if TYPE_CHECKING:
    from vidssl_cli.contract.reports import Report
    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.hooks_supervised import Linear


class LinearEvaluator:
    """The linear probe, and the deeper one of temporal transformations."""

    def __init__(self, options: Linear) -> None:
        self.options = options

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights; chance always names the commonest class.

        Raises:
            UsageError: scikit-learn is missing, or there are too few training videos or classes.
        """
        if self.options.head == "fc":
            return self._layers(study)
        classifier = logistic(self.options.penalties)
        return judge(self.options, study, classifier, standard=True, facts={"head": "logistic"})

    def _layers(self, study: Study) -> Report:
        """Train layers on clips; report ``clip_accuracy`` besides."""
        from vidssl_plugins.evaluators.fc import train_fc

        classes, settings = Classes.of(study, "linear"), settle(self.options, study)
        counts, more = {}, {}
        for weights in study.weights:
            train, test = (settings.clips(study, weights, p) for p in (study.train, study.test))
            predict = train_fc(
                np.concatenate(train),
                np.repeat(classes.train, [len(clips) for clips in train]),
                classes=len(classes.names),
                device=study.device,
                **self.options.fc.model_dump(),
            )
            probabilities = [predict(clips) for clips in test]
            found = confusion(classes.test, video_classes(probabilities), len(classes.names))
            counts[weights] = found
            more[weights] = {"clip_accuracy": clip_accuracy(probabilities, classes.test)}
        facts = classes.facts | settings.facts | {"standardise": False, "head": "fc"}
        report = class_report("linear", classes.names, counts, classes.chance, facts, more)
        report.chances["clip_accuracy"] = classes.chance
        return report
