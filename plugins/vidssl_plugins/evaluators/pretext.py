"""Held-out accuracy of a run's own pretext tasks."""

from __future__ import annotations

from typing import Any

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.reports import Confusion, Report, Table
from vidssl_cli.contract.study import Study

WIDEST = 8
"""Classes of a confusion matrix that fits a terminal as a table; as a figure it has all."""


class PretextEvaluator:
    """Runs the pretext tasks with the run's weights, and with random ones as chance."""

    def __call__(self, study: Study) -> Report:
        """Report every accuracy; losses and other quantities are in a table.

        For tasks that classify, figures and tables show what the run takes each class for.

        Raises:
            UsageError: no pretext task of the run has an accuracy.
        """
        found = {weights: study.pretext_scores(weights) for weights in study.weights}
        values = {weights: own.values for weights, own in found.items()}
        names = [name for name in values["run"] if name.endswith("accuracy")]
        if not names:
            raise UsageError("no pretext task of the run has an accuracy to report")
        rows: list[dict[str, Any]] = [
            {"weights": weights} | {name: of_weights[name] for name in names}
            for weights, of_weights in values.items()
        ]
        others = [name for name in values["run"] if name not in names]
        quantities = Table(
            "losses and other quantities",
            ["weights", *others],
            [
                [w, *(round(of_weights[name], 4) for name in others)]
                for w, of_weights in values.items()
            ],
        )
        chances = {name: values["random"][name] for name in names}
        confusions = list(found["run"].confusions)
        tables = [_table(each) for each in confusions if len(each.classes) <= WIDEST]
        return Report(
            rows, chances[names[0]], chances, tables=[quantities, *tables], figures=[*confusions]
        )


def _table(confusion: Confusion) -> Table:
    rows = [
        [name, *counts, _percent(counts[number], sum(counts))]
        for number, (name, counts) in enumerate(
            zip(confusion.classes, confusion.counts, strict=True)
        )
    ]
    title = f"{confusion.title}: clips of each class (rows) by what they were taken for"
    return Table(title, ["", *confusion.classes, "right, %"], rows)


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
