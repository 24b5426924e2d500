"""Tables of videos: CSV files, separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import (
    SPLITS,
    Lists,
    label_entries,
    misfit,
    read_entries,
    refuse_options,
)
from vidssl_cli.files.untrusted_text import read_lines

COLUMNS = ("path", "label", "split", "group")
"""What a table of videos may say of each."""
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Table:
    """The rows of a file that are not blank."""

    file: Path
    rows: Sequence[tuple[int, list[str]]]
    """Of each row the number of its last line, and its cells without surrounding space."""

    @property
    def header(self) -> list[str]:
        """The first row in lower case; it may be a header."""
        return [cell.lower() for cell in self.rows[0][1]] if self.rows else []

    def below_header(self, known: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
        """Return the rows below the header, by column; unknown columns are told on stderr.

        Raises:
            DamagedFileError: A column stands twice, or a row does not fit the header.
        """
        columns = self.header
        if twice := [name for name in columns if name and columns.count(name) > 1]:
            problem = f"there are two columns {twice[0]!r}"
            raise misfit(self.file, self.rows[0][0], problem, "rename one of them")
        if unknown := [name for name in columns if name and name not in known]:
            names = ", ".join(unknown)
            say(f"{self.file}: columns passed over: {names}; known are {', '.join(known)}")
        return [(line, self._named(line, columns, cells)) for line, cells in self.rows[1:]]

    def _named(self, line: int, columns: list[str], cells: list[str]) -> dict[str, str]:
        if len(cells) < len(columns) or any(cells[len(columns) :]):
            problem = f"{len(cells)} cells below a header of {len(columns)}"
            raise misfit(self.file, line, problem, "give every row a cell for each column")
        return dict(zip(columns, cells, strict=False))


def open_table(file: Path) -> Table:
    """Read the cells of a CSV file.

    Raises:
        DamagedFileError: It is no such file.
    """
    lines = [line for _, line in read_lines(file, "")]
    reader = csv.reader(lines, delimiter=_separator(lines), skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        where = f"{file}:{reader.line_num}"
        raise DamagedFileError(f"{where}: {error}", where=where) from None
    return Table(file, rows)


def _separator(lines: Sequence[str]) -> str:
    """Return the separator of cells: the one that suits the header, else the most common."""
    header = next((line.lower() for line in lines if line.strip()), "")
    for mark in ",;\t":
        if {"path", "youtube_id"} & {cell.strip(' "\r\n') for cell in header.split(mark)}:
            return mark
    return max(",;\t", key=_QUOTED.sub("", "".join(lines[:100])).count)


def read_table(table: Table, lists: Lists) -> list[Video]:
    """Read rows with a header that names path, or with columns path, label, split.

    Raises:
        DamagedFileError: A row does not fit the others, or has no path.
    """
    file, folder = table.file, table.file.parent
    if "path" in table.header:
        refuse_options(file, classes=lists.classes)
        rows = table.below_header(COLUMNS)
    elif all(len(cells) == 1 for _, cells in table.rows):  # `path` or `path number`
        return label_entries(read_entries(file, folder), lists, folders=False)
    else:
        refuse_options(file, classes=lists.classes)
        rows = _without_header(table)
    return [_video(f"{file}:{line}", folder, cells) for line, cells in rows]


def _without_header(table: Table) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a file without header, by column.

    Raises:
        DamagedFileError: Rows differ in their number of cells, or the first is a header without
            ``path``.
    """
    (line, first), *_ = table.rows
    if {*COLUMNS} & {*table.header} and not os.path.exists(table.file.parent / first[0]):
        hint = f"columns are {', '.join(COLUMNS)}"
        raise misfit(table.file, line, "the header names no column path", hint)
    counts = Counter(len(cells) for _, cells in table.rows)
    usual = counts.most_common(1)[0][0]
    for line, cells in table.rows:
        if len(cells) != usual:
            problem = f"{len(cells)} cells, unlike {counts[usual]} of {len(table.rows)} rows"
            raise misfit(table.file, line, problem, f"rows have {usual} cells each")
    if usual > len(COLUMNS) - 1:
        hint = "columns without a header are path, label, split"
        raise misfit(table.file, line, f"{usual} cells and no header", hint)
    return [(line, dict(zip(COLUMNS, cells, strict=False))) for line, cells in table.rows]


def _video(where: str, folder: Path, cells: dict[str, str]) -> Video:
    """Turn the cells of a table's row into a video."""
    path, split = cells.get("path"), cells.get("split")
    if not path:
        raise DamagedFileError(f"{where}: there is no path", where=where)
    if split and split.lower() not in SPLITS:
        raise DamagedFileError(f"{where}: split is train, val or test, not {split!r}", where=where)
    return Video(
        os.path.join(folder, path),
        cells.get("label") or None,
        SPLITS[split.lower()] if split else None,
        cells.get("group") or None,
    )
