"""Compares runs by protocol: those that differ only in the seed are one line, mean and error."""

from __future__ import annotations

import os.path
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from vidssl_cli.contract.reports import PublishedRow
from vidssl_cli.evaluation.records import Record, as_json
from vidssl_cli.evaluation.stored_reports import Evaluation

FEW = 5
"""Published rows that are shown."""


@dataclass(frozen=True)
class Tally:
    """Mean and standard error over seeds."""

    mean: float
    error: float | None
    """Standard error of the mean: the deviation (ddof 1) by the root of the count. None for one."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Tally:
        """Return the statistics of one value or more."""
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else None
        return cls(fmean(values), error, len(values))

    def percent(self) -> str:
        """Return mean and error in percent, as text."""
        error = "" if self.error is None else f" ± {100 * self.error:.1f}"
        return f"{100 * self.mean:.1f}{error}"


@dataclass(frozen=True)
class Group:
    """Runs of one recipe."""

    name: str
    records: Sequence[Record]

    @property
    def recipe(self) -> Mapping[str, Any]:
        """Every key, as plain values, with the seed of the first run."""
        return self.records[0].recipe


@dataclass(frozen=True)
class Line:
    """A line of a table of figures."""

    name: str
    figures: Mapping[str, Tally]
    """By metric."""
    is_run: bool = False
    """Whether trained weights were measured."""

    def as_document(self) -> dict[str, Any]:
        """Return it for JSON."""
        figures = {
            name: {"mean": tally.mean, "error": tally.error, "seeds": tally.count}
            for name, tally in self.figures.items()
        }
        return {"name": self.name, "figures": figures}


@dataclass(frozen=True)
class Board:
    """Reports of several runs by one protocol on the same data."""

    title: str
    metrics: Sequence[str]
    found: Sequence[tuple[Group, Record, Evaluation]]

    @property
    def evaluation(self) -> Evaluation:
        """The first one."""
        return self.found[0][2]

    @property
    def lines(self) -> list[Line]:
        """Trained weights, then random weights and chance: by group where groups differ."""
        weights = dict.fromkeys(str(row["weights"]) for *_, e in self.found for row in e.rows)
        lines = [
            Line(group.name, figures, is_run=True) for group, figures in self._of_groups("run")
        ]
        for other in (name for name in weights if name != "run"):
            named = "random weights" if other == "random" else other
            lines += _merged(named, self._of_groups(other))
        return lines + _merged("chance", self._of_groups(None))

    @property
    def published(self) -> list[PublishedRow]:
        """Rows of papers, each once, the closest first; each with what differs from any run."""
        found: dict[str, PublishedRow] = {}
        for *_, evaluation in self.found:
            for row in evaluation.published:
                key = as_json([row.source, row.name, row.figures])
                known = found.setdefault(key, row)
                differs = list(dict.fromkeys([*known.differs, *row.differs]))
                found[key] = replace(row, differs=differs)
        return list(found.values())

    @property
    def notes(self) -> list[str]:
        """What differs from published rows, and which runs were trained further since.

        Rows that differ in the same have one note, which names the source of each.
        """
        alike: dict[str, dict[str, list[int]]] = {}
        for number, row in enumerate(self.published[:FEW], 1):
            differs = "; ".join(row.differs) or "nothing that is stated"
            alike.setdefault(differs, {}).setdefault(row.source, []).append(number)
        unlike = [
            "; ".join(
                f"{', '.join(f'[{number}]' for number in numbers)} {source}"
                for source, numbers in sources.items()
            )
            + f"; differs: {differs}"
            for differs, sources in alike.items()
        ]
        stale = [
            f"{group.name}, seed {record.seed}, was trained further after this was measured"
            for group, record, evaluation in self.found
            if record.is_stale(evaluation)
        ]
        return unlike + stale

    def _of_groups(self, weights: str | None) -> list[tuple[Group, dict[str, Tally]]]:
        """Return the figures of each group's weights; None stands for chance."""
        groups = list({id(group): group for group, *_ in self.found}.values())
        tallied = []
        for group in groups:
            mine = [evaluation for other, _, evaluation in self.found if other is group]
            figures = {}
            for metric in self.metrics:
                values = [
                    e.chance(metric) if weights is None else e.figure(weights, metric) for e in mine
                ]
                known = [value for value in values if value is not None]
                if weights is None and len(set(known)) == 1:
                    known = known[:1]  # chance is known exactly, but for tasks that draw
                if known:
                    figures[metric] = Tally.of(known)
            if figures:
                tallied.append((group, figures))
        return tallied

    def as_document(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "title": self.title,
            "evaluator": self.evaluation.evaluator,
            "options": self.evaluation.options,
            "data": self.evaluation.data,
            "rows": [line.as_document() for line in self.lines],
            "published": [
                {name: getattr(row, name) for name in ("source", "name", "figures", "differs")}
                for row in self.published
            ],
        }


def _merged(name: str, tallied: Sequence[tuple[Group, dict[str, Tally]]]) -> list[Line]:
    """Return one line for all groups that agree; it names them unless all groups agree."""
    alike: dict[str, list[tuple[Group, dict[str, Tally]]]] = {}
    for group, figures in tallied:
        means = as_json({metric: tally.mean for metric, tally in figures.items()})
        alike.setdefault(means, []).append((group, figures))
    if len(alike) == 1:
        return [Line(name, tallied[0][1])]
    return [
        Line(f"{name}, {', '.join(group.name for group, _ in members)}", members[0][1])
        for members in alike.values()
    ]


def grouped(records: Iterable[Record]) -> list[Group]:
    """Group runs that differ only in the seed; groups are named by their folders."""
    alike: dict[str, list[Record]] = {}
    for record in records:
        train = {key: value for key, value in record.recipe["train"].items() if key != "seed"}
        scratch = record.facts.get("scratch")
        alike.setdefault(as_json([{**record.recipe, "train": train}, scratch]), []).append(record)
    together = list(alike.values())
    return [Group(name, members) for name, members in zip(_names(together), together, strict=True)]


def boards(groups: Sequence[Group]) -> list[Board]:
    """Group reports by protocol, options and data."""
    found: dict[str, dict[Path, tuple[Group, Record, Evaluation]]] = {}
    for group in groups:
        for record in group.records:
            for each in record.evaluations():
                alike = [each.evaluator, each.options, each.data, each.checkpoint, each.metrics]
                found.setdefault(as_json(alike), {})[record.folder] = (group, record, each)
    together = [list(entries.values()) for entries in found.values()]
    titles = _titles([entries[0][2] for entries in together])
    made = [
        Board(title, entries[0][2].metrics, entries)
        for title, entries in zip(titles, together, strict=True)
    ]
    often = Counter(board.title for board in made)
    made = [board if often[board.title] == 1 else _with_names(board) for board in made]
    order = list(dict.fromkeys(board.evaluation.evaluator for board in made))
    return sorted(made, key=lambda board: order.index(board.evaluation.evaluator))


def _with_names(board: Board) -> Board:
    names = ", ".join(dict.fromkeys(group.name for group, *_ in board.found))
    return Board(f"{board.title}, of {names}", board.metrics, board.found)


def _titles(evaluations: Sequence[Evaluation]) -> list[str]:
    """Name each protocol, with the options and data in which it differs from others of its name."""
    titles = []
    for one in evaluations:
        others = [other for other in evaluations if other.evaluator == one.evaluator]
        words = [one.evaluator]
        for key, value in one.options.items():
            if any(other.options.get(key) != value for other in others) and value is not None:
                words.append(f"{key} {value if isinstance(value, str) else as_json(value)}")
        if any(other.checkpoint != one.checkpoint for other in others):
            words.append(f"checkpoint {one.checkpoint}")
        if any(other.data != one.data for other in others):
            words.append(f"data {one.data_name}")
        titles.append(", ".join(words))
    return titles


def _names(together: Sequence[Sequence[Record]]) -> list[str]:
    """Name groups of runs by the common part of their folders, relative to that of all groups."""
    stems = [_stem([record.folder.resolve() for record in members]) for members in together]
    root = Path(os.path.commonpath([stem.parent for stem in stems])) if stems else Path()
    names = [stem.relative_to(root).as_posix() for stem in stems]
    often = Counter(names)
    return [
        name if often[name] == 1 else members[0].folder.resolve().relative_to(root).as_posix()
        for name, members in zip(names, together, strict=True)
    ]


def _stem(folders: Sequence[Path]) -> Path:
    """Return the common part of folders, without the seed at its end."""
    first = folders[0]
    if first.name.isdecimal():
        return first.parent
    name = first.name.rstrip("0123456789").rstrip("-_. ") if len(folders) > 1 else ""
    return first.with_name(name or first.name)
