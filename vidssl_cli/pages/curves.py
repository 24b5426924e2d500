"""Training curves: losses and metrics, a line for each recipe, the mean over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from vidssl_cli.contract.reports import Curves

if TYPE_CHECKING:
    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import Group

Line = Sequence[tuple[float, float]]
"""Points (x, y) with x ascending."""

POINTS = 60
"""Points of a curve, at most; each is the mean of neighbouring steps."""
ENOUGH_EPOCHS = 10
"""From so many on, curves have a point for each epoch instead."""


def training_curves(groups: Sequence[Group]) -> list[Curves]:
    """Return one figure for every quantity that was logged; the loss comes first."""
    records = [record for group in groups for record in group.records if record.rows]
    if not records:
        return []
    by_epoch = min(record.epoch for record in records) >= ENOUGH_EPOCHS
    figures: dict[str, dict[str, Line]] = {}
    for group in groups:
        of_names: dict[str, list[Line]] = {}
        for record in group.records:
            for name, line in _logged(record, by_epoch).items():
                of_names.setdefault(name, []).append(line)
        terms = [name for name in of_names if name.endswith(".loss")]
        for name, seeds in of_names.items():
            if name not in terms or len(terms) > 1:  # a single term is the loss
                figures.setdefault(name, {})[group.name] = mean_line(seeds)
    x = "epoch" if by_epoch else "step"

    def title(name: str, lines: dict[str, Line]) -> str:
        only = len(lines) == 1 and len(groups) > 1
        return f"{name}, {next(iter(lines))}" if only else name

    return [Curves(title(name, lines), x, "", lines) for name, lines in figures.items()]


def mean_line(seeds: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Return the mean of several lines where all of them have a point."""
    points = [dict(line) for line in seeds]
    shared = [x for x in points[0] if all(x in line for line in points)]
    return [(x, fmean(line[x] for line in points)) for x in shared]


def thinned(points: Line) -> Line:
    """Return at most `POINTS` points, each the mean of its share of neighbours, at the last x."""
    width = max(1, -(-len(points) // POINTS))
    parts = [points[begin : begin + width] for begin in range(0, len(points), width)]
    return [(part[-1][0], fmean(value for _, value in part)) for part in parts]


def _logged(record: Record, by_epoch: bool) -> dict[str, Line]:
    """Return a line for every quantity that a run logged."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in record.rows:
        if ("epoch.loss" in row) != by_epoch or "not_finite" in row:
            continue
        x = row["epoch"] + 1 if by_epoch else row["step"]
        for key, value in row.items():
            if (name := key.removeprefix("epoch.")) not in _NOT_DRAWN:
                found.setdefault(name, []).append((x, value))
    return {name: thinned(points) for name, points in found.items()}


_NOT_DRAWN = {"step", "epoch", "lr", "score"}
