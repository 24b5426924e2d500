"""What evaluators report: rows, tables, and figures to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Table:
    """A titled table of a report."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]

    def __post_init__(self) -> None:
        """Refuse rows that are longer or shorter than the table is wide."""
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of the table {self.title!r} has not a cell for every column")


@dataclass(frozen=True)
class Curves:
    """A plot of lines."""

    title: str
    x: str
    """Label of the horizontal axis."""
    y: str
    """Label of the vertical axis."""
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """(x, y) of each line by its name, with x ascending."""
    bands: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    """(lowest, highest) at each point of lines that have a range, such as a confidence interval."""

    def __post_init__(self) -> None:
        """Refuse ranges that are not of the points of a line."""
        if any(len(band) != len(self.lines.get(name, ())) for name, band in self.bands.items()):
            raise ValueError(f"a band of {self.title!r} has not a range for every point of a line")


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix."""

    title: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    """(K, K): rows are true classes, columns predicted ones."""

    def __post_init__(self) -> None:
        """Refuse counts that are not of these classes."""
        count = len(self.classes)
        if len(self.counts) != count or any(len(row) != count for row in self.counts):
            raise ValueError(f"the counts of {self.title!r} are not {count} by {count}")


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of a few queries."""

    title: str
    queries: Sequence[tuple[str, str]]
    """(path, class) of each."""
    hits: Sequence[Sequence[tuple[str, str, float]]]
    """(path, class, cosine) of the nearest gallery videos of each query, best first."""


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A row of a paper's table: its figures on one data set.

    A report keeps what `as_document` returns. How a row was measured is known of those that
    `vidssl_cli.config.published` reads.
    """

    key: str = ""
    """``file/table/row``, shown by `vidssl published KEY`; several data sets of a row share it."""
    source: str
    """Paper and table."""
    dataset: str = ""
    name: str = ""
    """Method, variant, network and tap."""
    figures: Mapping[str, float | None]
    """Metric, or class, to value from 0 to 1; those in ``units`` as printed."""
    differs: Sequence[str] = ()
    """Settings in which it differs from the measurement that it is compared with."""
    also: Sequence[str] = ()
    """Further sources with the same figures."""

    paper: str = ""
    table: str = ""
    evaluator: str = ""
    setting: Mapping[str, Any] = field(default_factory=dict)
    """How it was measured, as far as the paper says: `vidssl_cli.config.published.Setting`."""
    backbone: Mapping[str, Any] | None = None
    """Options of the network, where vidssl has it."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of figures that are no percentages."""
    by_class: bool = False
    """Whether ``figures`` are by class."""

    def as_document(self) -> dict[str, Any]:
        """Return what a report says of it: docs/json.md."""
        names = ("key", "source", "dataset", "name", "figures", "differs", "also")
        return {name: getattr(self, name) for name in names}


@dataclass
class Report:
    """The result of an evaluator."""

    rows: list[dict[str, Any]]
    """One per set of weights: ``{"weights": "run" | "random", metric: value from 0 to 1, …}``."""
    chance: float
    """Chance level of the leading metric."""
    chances: dict[str, float] = field(default_factory=dict)
    """Chance level of every metric that has one."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Facts of the protocol: counts, tap, pooling, level."""
    tables: list[Table] = field(default_factory=list)
    figures: list[Curves | Confusion | Neighbours] = field(default_factory=list)
    """What `vidssl report` draws."""
    published: Sequence[PublishedRow] = ()
    """Published figures of the same protocol and data set, the closest first; evaluators leave it
    empty."""
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By split, ``used`` labelled videos and how many DATA has ``of`` them, where some are left
    out; evaluators leave it empty."""


@dataclass(frozen=True)
class PretextScores:
    """Losses and metrics of a network on the pretext tasks of its run."""

    values: Mapping[str, float]
    """Losses and metrics, by ``pretext.name``."""
    confusions: Sequence[Confusion] = ()
    """Of tasks that classify (see `Pretext`), titled ``pretext.label``."""
