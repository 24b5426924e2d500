"""By how much one of two recipes is better than the other at each class (SSTL 2021, figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_cli.contract.reports import Confusion
from vidssl_cli.pages import charts

if TYPE_CHECKING:
    from markupsafe import Markup

    from vidssl_cli.evaluation.scoreboard import Board

OWN = ", run weights"
"""End of the titles of confusions that are of trained weights."""


def class_gains(board: Board) -> list[Markup]:
    """Draw the first recipe's accuracy less the second's, in points, wherever both classify.

    The largest gain comes first. Seeds count together. One recipe, or three, have no drawing.
    """
    groups = list(dict.fromkeys(group.name for group, *_ in board.found))
    drawn = []
    for title, accuracies in _accuracies(board).items():
        if len(groups) == 2 and accuracies.keys() == set(groups):
            one, other = (accuracies[group] for group in groups)
            gains = {name: one[name] - other[name] for name in one if name in other}
            said = f"{title}, points by class: {groups[0]} less {groups[1]}"
            drawn.append(charts.bars(said, dict(sorted(gains.items(), key=lambda it: -it[1]))))
    return drawn


def _accuracies(board: Board) -> dict[str, dict[str, dict[str, float]]]:
    """Return percentages of what is right, by title, recipe and class that is tested."""
    counts: dict[tuple[str, str, str], tuple[int, int]] = {}
    for group, _, evaluation in board.found:
        for figure in evaluation.figures:
            if isinstance(figure, Confusion) and figure.title.endswith(OWN):
                for place, (name, row) in enumerate(
                    zip(figure.classes, figure.counts, strict=True)
                ):
                    key = figure.title.removesuffix(OWN), group.name, name
                    right, tested = counts.get(key, (0, 0))
                    counts[key] = right + row[place], tested + sum(row)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (title, group_name, name), (right, tested) in counts.items():
        if tested:
            of_groups = found.setdefault(title, {})
            of_groups.setdefault(group_name, {})[name] = 100 * right / tested
    return found
