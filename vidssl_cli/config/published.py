"""Figures of papers, and where they stand.

Plugins offer folders of YAML files, one for each paper; docs/evaluation.md describes them.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from vidssl_cli.base.errors import PluginError, UsageError
from vidssl_cli.config.known_datasets import DATASETS
from vidssl_cli.config.load import read_model, tolerated
from vidssl_cli.config.problems import nearest
from vidssl_cli.config.sections import Section
from vidssl_cli.contract.registry import registry


class Setting(Section):
    """How a figure was measured; what is null, the paper does not say."""

    method: str | None = None
    """Under one name, whatever the papers call it."""
    variant: str | None = None
    """What sets the row apart from others of the same method."""
    network: str | None = None
    """A key of the file's ``networks``."""
    parameters: float | None = None
    """Of the network, in millions, as printed."""
    pretraining: str | None = None
    """Data set; ``none`` is random weights."""
    share: str | None = None
    """Part of the pre-training set."""
    splits: str | None = None
    """Official splits: ``1``, or ``1-3`` for their mean; or how the data were split."""
    input: int | None = None
    """Side in pixels of what the network sees."""
    frames: int | None = None
    """Of a clip."""
    stride: int | None = None
    """Distance in frames between two frames of a clip."""
    modality: str | None = None
    """What the network sees or saw in training, where it is not RGB frames alone."""
    level: str | None = None
    """What is looked up: ``clip`` or ``video``."""
    clips: int | None = None
    """Of a test video."""
    tap: str | None = None
    """Layer that features are of."""
    pool: str | None = None
    """How it becomes a vector."""
    standardise: bool | None = None
    """Whether by the statistics of the training videos."""
    head: str | None = None
    """What `linear` trained on frozen features."""


class Entry(Setting):
    """A row of a table; its settings go before those of the table."""

    figures: tuple[float | None, ...] = ()
    """One for each column."""


class PaperTable(Setting):
    """A table of a paper, or the part of it that was measured by one protocol."""

    table: str
    """Where the paper has it."""
    evaluator: str
    """The protocol, as `vidssl evaluate` or `vidssl finetune` calls it."""
    columns: tuple[str, ...] = ()
    """Data set and metric of each, ``UCF101 top1``."""
    units: Mapping[str, str] = {}
    """Of metrics that are no percentages."""
    classes: str | None = None
    """CSV file beside this one: accuracy by class, in a column for each row of the table."""
    dataset: str | None = None
    """What those classes are of."""
    rows: Mapping[str, Entry]


class Paper(Section):
    """A file of figures."""

    paper: str
    """As it is cited."""
    title: str
    url: str = ""
    networks: Mapping[str, Mapping[str, Any] | None]
    """By the paper's name: options of the backbone that is the same network, or null."""
    tables: Mapping[str, PaperTable]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        for name, table in self.tables.items():
            for key, row in table.rows.items():
                network = row.network or table.network
                if network is not None and network not in self.networks:
                    raise ValueError(f"{name}: {key}: {network!r} is not among the networks")
                if len(row.figures) != len(table.columns):
                    found = f"{len(row.figures)} figures for {len(table.columns)} columns"
                    raise ValueError(f"{name}: {key}: found {found}")
        return self


@dataclass(frozen=True)
class Row:
    """What one row of a paper's table says of one data set."""

    key: str
    """``file/table/row``; several data sets of a row share it."""
    paper: str
    table: str
    evaluator: str
    dataset: str
    setting: Setting
    figures: Mapping[str, float]
    """Metric, or class, to value as printed."""
    backbone: Mapping[str, Any] | None = None
    """Options of the network, where we have it."""
    units: Mapping[str, str] = field(default_factory=dict)
    by_class: bool = False

    @property
    def name(self) -> str:
        """Method, variant, network and tap."""
        setting = self.setting
        parts = (setting.method, setting.variant, setting.network, setting.tap)
        return ", ".join(filter(None, parts))

    @property
    def source(self) -> str:
        """Paper and table."""
        return f"{self.paper}, {self.table}"

    @property
    def trained_on(self) -> str | None:
        """The pre-training set, or the part of it that was used."""
        share = self.setting.share
        return f"{share} of {self.setting.pretraining}" if share else self.setting.pretraining

    def fractions(self) -> dict[str, float]:
        """Return the figures as evaluators report them: percentages from 0 to 1."""
        return {
            metric: value if metric in self.units else round(value / 100, 6)
            for metric, value in self.figures.items()
        }


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return every published row, in the order of the files.

    Raises:
        RecipeError: A file of our own cannot be understood.
    """
    found: dict[str, Path] = {}
    read: list[Row] = []
    for file, package in _files():
        with tolerated(package, file):
            if found.setdefault(file.stem, file) != file:
                raise PluginError(
                    f"{found[file.stem]} and {file} have the same name",
                    where=str(file),
                    hint="rename one: keys of published figures begin with it",
                )
            read += _read(file)
    return tuple(read)


def select(
    keys: Sequence[str] = (),
    method: str = "",
    network: str = "",
    dataset: str = "",
    evaluator: str = "",
) -> list[Row]:
    """Return the rows under some keys, in whose fields certain words occur.

    Args:
        keys: Of rows, or their beginning up to a slash; all rows if there is none.
        method: A part of its name, in whichever case; the others likewise.
        network: As the paper calls it.
        dataset: What was evaluated on.
        evaluator: The protocol, in full.

    Raises:
        UsageError: There is no such key.
    """
    for key in keys:
        if not any(under(row, [key]) for row in rows()):
            known = {"/".join(row.key.split("/")[:n]) for row in rows() for n in (1, 2, 3)}
            raise UsageError(
                f"no published figures are called {key!r}{nearest(key, known)}",
                where=key,
                hint="`vidssl published` lists them",
            )
    return [
        row
        for row in rows()
        if (not keys or under(row, keys))
        and evaluator in ("", row.evaluator)
        and _has(method, row.setting.method)
        and _has(network, row.setting.network)
        and _has(dataset, row.dataset)
    ]


def under(row: Row, keys: Iterable[str]) -> bool:
    """Whether a row has one of the keys, or one that begins with it."""
    return any(f"{row.key}/".startswith(f"{key.rstrip('/')}/") for key in keys)


def _has(word: str, text: str | None) -> bool:
    return word.casefold() in (text or "").casefold()


def _files() -> Iterator[tuple[Path, str]]:
    """Yield every file of figures and the package that ships it."""
    for folder, package in registry().published_folders.items():
        for file in sorted(folder.glob("*.yaml")):
            if file.name != DATASETS:
                yield file, package


def _read(file: Path) -> Iterator[Row]:
    """Yield the rows of a file, one for each data set of a row of a table."""
    paper = read_model(Paper, file)
    for name, table in paper.tables.items():
        for key, entry in table.rows.items():
            said = (part.model_dump(exclude_unset=True) for part in (table, entry))
            both = {name: value for part in said for name, value in part.items()}
            setting = Setting(**{name: both[name] for name in Setting.model_fields if name in both})
            for dataset, figures in _figures(file, table, key, entry).items():
                yield Row(
                    key=f"{file.stem}/{name}/{key}",
                    paper=paper.paper,
                    table=table.table,
                    evaluator=table.evaluator,
                    dataset=dataset,
                    setting=setting,
                    figures=figures,
                    backbone=paper.networks.get(setting.network or ""),
                    units=table.units,
                    by_class=table.classes is not None,
                )


def _figures(file: Path, table: PaperTable, key: str, entry: Entry) -> dict[str, dict[str, float]]:
    """Return the figures of a row by data set and metric, or by data set and class."""
    if table.classes is not None:
        with (file.parent / table.classes).open(newline="", encoding="utf-8") as text:
            by_class = {line["class"]: float(line[key]) for line in csv.DictReader(text)}
        return {str(table.dataset): by_class}
    found: dict[str, dict[str, float]] = {}
    for column, value in zip(table.columns, entry.figures, strict=True):
        dataset, _, metric = column.rpartition(" ")
        if value is not None:
            found.setdefault(dataset, {})[metric] = value
    return found
