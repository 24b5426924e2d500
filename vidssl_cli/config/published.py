"""Reads the figures that papers publish.

Plugins offer folders of YAML files, one for each paper; docs/evaluation.md describes them.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from vidssl_cli.base.errors import PluginError, UsageError
from vidssl_cli.config.known_datasets import DATASETS
from vidssl_cli.config.load import read_model, tolerated
from vidssl_cli.config.problems import nearest
from vidssl_cli.config.sections import Section
from vidssl_cli.contract.registry import registry
from vidssl_cli.contract.reports import PublishedRow


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
    """CSV file in the same folder: accuracy by class, in a column for each row of the table."""
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


@functools.cache
def rows() -> tuple[PublishedRow, ...]:
    """Return every published row, in the order of the files.

    Raises:
        RecipeError: A file of our own cannot be understood.
    """
    found: dict[str, Path] = {}
    read: list[PublishedRow] = []
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
) -> list[PublishedRow]:
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
        and _has(method, row.setting.get("method"))
        and _has(network, row.setting.get("network"))
        and _has(dataset, row.dataset)
    ]


def under(row: PublishedRow, keys: Iterable[str]) -> bool:
    """Whether a row has one of the keys, or one that begins with it."""
    return any(f"{row.key}/".startswith(f"{key.rstrip('/')}/") for key in keys)


def trained_on(row: PublishedRow) -> str | None:
    """Return the pre-training set of a row, or the part of it that was used."""
    pretraining, share = row.setting.get("pretraining"), row.setting.get("share")
    return f"{share} of {pretraining}" if share else pretraining


def printed(row: PublishedRow) -> dict[str, float | None]:
    """Return the figures of a row as the paper prints them: percentages, but for those in units."""
    return {
        metric: value if value is None or metric in row.units else round(100 * value, 4)
        for metric, value in row.figures.items()
    }


def _has(word: str, text: str | None) -> bool:
    return word.casefold() in (text or "").casefold()


def _files() -> Iterator[tuple[Path, str]]:
    """Yield every file of figures and the package that ships it."""
    for folder, package in registry().published_folders.items():
        for file in sorted(folder.glob("*.yaml")):
            if file.name != DATASETS:
                yield file, package


def _read(file: Path) -> Iterator[PublishedRow]:
    """Yield the rows of a file, one for each data set of a row of a table."""
    paper = read_model(Paper, file)
    for name, table in paper.tables.items():
        for key, entry in table.rows.items():
            both = table.model_dump(exclude_unset=True) | entry.model_dump(exclude_unset=True)
            setting = {
                name: both[name] for name in Setting.model_fields if both.get(name) is not None
            }
            shown = (setting.get(name) for name in ("method", "variant", "network", "tap"))
            row = PublishedRow(
                key=f"{file.stem}/{name}/{key}",
                source=f"{paper.paper}, {table.table}",
                name=", ".join(filter(None, shown)),
                figures={},
                paper=paper.paper,
                table=table.table,
                evaluator=table.evaluator,
                setting=setting,
                backbone=paper.networks.get(setting.get("network", "")),
                units=table.units,
                by_class=table.classes is not None,
            )
            for dataset, figures in _figures(file, table, key, entry).items():
                yield replace(row, dataset=dataset, figures=figures)


def _figures(file: Path, table: PaperTable, key: str, entry: Entry) -> dict[str, dict[str, float]]:
    """Return the figures of a row by data set and metric, or by data set and class."""
    if table.classes is not None:
        with (file.parent / table.classes).open(newline="", encoding="utf-8") as text:
            by_class = {line["class"]: _fraction(float(line[key])) for line in csv.DictReader(text)}
        return {str(table.dataset): by_class}
    found: dict[str, dict[str, float]] = {}
    for column, value in zip(table.columns, entry.figures, strict=True):
        dataset, _, metric = column.rpartition(" ")
        if value is not None:
            figure = value if metric in table.units else _fraction(value)
            found.setdefault(dataset, {})[metric] = figure
    return found


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)
