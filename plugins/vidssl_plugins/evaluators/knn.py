"""The vote of the nearest training videos, by a frozen network."""

from __future__ import annotations

from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import Frozen
from vidssl_plugins.evaluators.shared.classifiers import ranked_by_votes
from vidssl_plugins.evaluators.shared.frozen import report_classifier


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
        """Report ``accuracy`` and, of five neighbours or more, ``top5``."""
        asked = self.standardise
        return report_classifier(
            self.options,
            study,
            ranked_by_votes(self.neighbours, self.temperature),
            standard=study.evaluation.standardise if asked is None else asked,
            least=1,
            facts={"neighbours": self.neighbours},
        )
