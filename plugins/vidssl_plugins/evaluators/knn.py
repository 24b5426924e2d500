"""The vote of the nearest training videos, by a frozen network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_plugins.evaluators.shared.classifiers import nearest
from vidssl_plugins.evaluators.shared.frozen import report_classifier

if TYPE_CHECKING:
    from vidssl_cli.contract.reports import Report
    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.options.shared import Frozen


class KNNEvaluator:
    """Classifies mean features of videos by their nearest neighbours."""

    def __init__(
        self,
        options: Frozen,
        neighbours: int,
        temperature: float | None,
        standardise: bool | None,
    ) -> None:
        self.options, self.neighbours, self.temperature = options, neighbours, temperature
        self.standardise = standardise

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``; see `report_classifier`."""
        asked = self.standardise
        return report_classifier(
            self.options,
            study,
            nearest(self.neighbours, self.temperature),
            standard=study.evaluation.standardise if asked is None else asked,
            least=1,
            facts={"neighbours": self.neighbours},
        )
