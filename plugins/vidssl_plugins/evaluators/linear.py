"""Classification from frozen features: logistic regression, or new fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import FC, Frozen
from vidssl_plugins.evaluators.shared.classifiers import logistic
from vidssl_plugins.evaluators.shared.frozen import report_classifier, report_layers
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
        from vidssl_plugins.evaluators.shared.fc import train_fc

        settings = settle_frozen(study, self.options)
        learn = partial(train_fc, fc=self.fc, device=study.device)
        return report_layers(self.options, study, settings, learn, {"head": "fc"})
