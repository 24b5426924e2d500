"""Linear SVMs on a frozen network, one class against the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidssl_plugins.evaluators.shared.classifiers import svm
from vidssl_plugins.evaluators.shared.frozen import report_classifier

if TYPE_CHECKING:
    from vidssl_cli.contract.reports import Report
    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.options.shared import Frozen


class SVMEvaluator:
    """Classifies mean features of videos by linear SVMs."""

    def __init__(self, options: Frozen, penalties: Sequence[float], seed: int) -> None:
        self.options, self.penalties, self.seed = options, penalties, seed

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``; see `report_classifier`."""
        return report_classifier(self.options, study, svm(self.penalties, self.seed), standard=True)
