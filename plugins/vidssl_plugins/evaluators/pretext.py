"""Held-out accuracy of a run's own pretext tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vidssl_cli.errors import UsageError
from vidssl_cli.hooks import Report, Table

if TYPE_CHECKING:
    from vidssl_cli.hooks import Study


class PretextEvaluator:
    """Runs the pretext tasks with the run's weights, and with random ones as the guesser."""

    def __call__(self, study: Study) -> Report:
        """Report every accuracy; losses and other quantities stand in a table.

        Raises:
            UsageError: no pretext task of the run has an accuracy.
        """
        found = {weights: study.own_task(weights) for weights in study.weights}
        names = [name for name in found["run"] if name.endswith("accuracy")]
        if not names:
            raise UsageError("no pretext task of the run has an accuracy to report")
        rows: list[dict[str, Any]] = [
            {"weights": weights} | {name: values[name] for name in names}
            for weights, values in found.items()
        ]
        others = [name for name in found["run"] if name not in names]
        quantities = Table(
            "losses and other quantities",
            ["weights", *others],
            [[w, *(round(values[name], 4) for name in others)] for w, values in found.items()],
        )
        chances = {name: found["random"][name] for name in names}
        return Report(rows, chances[names[0]], chances, tables=[quantities])
