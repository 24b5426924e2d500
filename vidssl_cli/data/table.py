"""Tables of videos: CSV files, separated by commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.data.entries import (
    Entry,
    entry,
    is_entry,
    is_video,
    read_lines_of,
    refuse_strays,
    with_endings,
)
from vidssl_cli.data.lists import SPLITS, misfit
from vidssl_cli.files.untrusted_text import read_lines

COLUMNS = ("path", "label", "split", "group")
"""What a table of videos may say of each."""
HEADER = f"begin with a header, such as path,label; columns are {', '.join(COLUMNS)}"
_MARKS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Table:
    """The rows of a file that are not blank."""

    file: Path
    rows: Sequence[tuple[int, list[str]]]
    """Of each row the number of its last line, and its cells without surrounding space; a list
    without separators has one cell in each."""

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
            problem = f"{counted(len(cells), 'cell')} below a header of {len(columns)}"
            raise misfit(self.file, line, problem, "give every row a cell for each column")
        return dict(zip(columns, cells, strict=False))


def open_table(file: Path) -> Table:
    """Read the cells of a CSV file, or the lines of a list.

    Raises:
        UsageError: It is no file.
        DamagedFileError: It is no such file.
    """
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    lines = [line for _, line in read_lines(file, "")]
    mark = _separator(lines, is_table=file.suffix.lower() == ".csv")
    if mark is None:
        whole = [(place, [line.strip()]) for place, line in read_lines(file) if line.strip()]
        return Table(file, whole)
    reader = csv.reader(lines, delimiter=mark, skipinitialspace=True)
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


def _separator(lines: Sequence[str], *, is_table: bool) -> str | None:
    """Return the separator of cells, or None if lines are `path` or `path label`.

    It is what suits the header, else what ends the names of most videos, else the most common one.
    """
    filled = [line.strip() for line in lines if line.strip()][:1000]
    for mark in _MARKS:
        if filled and {"path", "youtube_id"} & {each.lower() for each in _cells(filled[0], mark)}:
            return mark
    rows = {mark: [_cells(line, mark) for line in filled] for mark in _MARKS}
    first = {mark: sum(len(row) > 1 and is_video(row[0]) for row in rows[mark]) for mark in _MARKS}
    best = max(_MARKS, key=first.__getitem__)
    if first[best] and 2 * first[best] >= len(filled):
        return best
    if 2 * sum(is_entry(line, labelled=is_table) for line in filled) > len(filled):
        return None
    text = _QUOTED.sub("", "\n".join(filled))
    mark = max(_MARKS, key=text.count)
    even = len({len(row) for row in rows[mark]}) == 1
    videos = sum(any(map(is_video, row)) for row in rows[mark])
    return mark if mark in text and (is_table or even or 2 * videos > len(filled)) else None


def _cells(line: str, mark: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=mark, skipinitialspace=True), [])
    except csv.Error:
        row = []
    return [cell.strip() for cell in row] or [line]


def read_entries(table: Table, root: Path) -> list[Entry]:
    """Read a list, or rows with a header that names path, or with columns path, label, split.

    Args:
        table: Its cells.
        root: What paths are relative to.

    Raises:
        DamagedFileError: A row does not fit the others, or has no path.
    """
    if "path" in table.header:
        rows = table.below_header(COLUMNS)
        if "label" not in table.header and {*table.header} - {*COLUMNS, ""}:
            warn(f"{table.file}: no column is called label, so that videos have no classes")
    elif all(len(cells) == 1 for _, cells in table.rows):
        return read_lines_of(table.file, root, [(line, cell) for line, (cell,) in table.rows])
    else:
        rows = _without_header(table, root)
    entries = [_entry(table.file, line, root, cells) for line, cells in rows]
    refuse_strays(entries, root)
    return with_endings(entries)


def _without_header(table: Table, root: Path) -> list[tuple[int, dict[str, str]]]:
    """Return the rows of a file without header, by column.

    Raises:
        DamagedFileError: Rows differ in their number of cells, the first is a header without
            ``path``, or columns are others than path, label, split.
    """
    (line, first), *rest = table.rows
    counts = Counter(len(cells) for _, cells in table.rows)
    usual = counts.most_common(1)[0][0]
    videos = Counter(column for _, row in rest for column, cell in enumerate(row) if is_video(cell))
    is_header = bool({*COLUMNS} & {*table.header}) or (
        len(first) == usual and videos.total() > 0 and not any(map(is_video, first))
    )
    if is_header and not first[0].startswith("#") and not os.path.isfile(root / first[0]):
        names = ", ".join(filter(None, first))
        problem = f"the header names no column path, but {names}"
        raise misfit(table.file, line, problem, f"rename them: columns are {', '.join(COLUMNS)}")
    for place, cells in table.rows:
        if len(cells) != usual:
            others = f"unlike {counts[usual]} of {counted(len(table.rows), 'row')}"
            hint = f"rows have {counted(usual, 'cell')} each"
            raise misfit(table.file, place, f"{counted(len(cells), 'cell')}, {others}", hint)
    if usual > len(COLUMNS) - 1:
        raise misfit(table.file, line, f"{usual} cells and no header", HEADER)
    column = max(range(usual), key=lambda each: videos[each])
    if videos[column] and not videos[0]:
        problem = f"the names of videos are in column {column + 1}, and there is no header"
        raise misfit(table.file, line, problem, f"{HEADER}; quote names that contain separators")
    if usual == 2 and all(cells[1].lower() in SPLITS for _, cells in table.rows):
        problem = "column 2 has splits, and there is no header"
        raise misfit(table.file, line, problem, "begin with the header path,split")
    return [(place, dict(zip(COLUMNS, cells, strict=False))) for place, cells in table.rows]


def _entry(file: Path, line: int, root: Path, cells: dict[str, str]) -> Entry:
    """Turn the cells of a row into an entry."""
    path, split = cells.get("path"), cells.get("split")
    if not path:
        raise misfit(file, line, "there is no path", "name the video")
    if split and split.lower() not in SPLITS:
        raise misfit(file, line, f"split is train, val or test, not {split!r}", "correct the row")
    facts = {
        "label": cells.get("label") or None,
        "split": SPLITS[split.lower()] if split else None,
        "group": cells.get("group") or None,
    }
    return entry(file, line, root, path, facts)
