"""Lists and tables of videos: who they are, their labels and splits."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.untrusted_text import read_json, read_lines


@dataclass(frozen=True)
class Lists:
    """Where the split of a data set is written down, if not in its folders."""

    split: int = 1
    """Which of the official splits, 1 to 3; of Diving48, 1 (first labels) or 2 (corrected)."""
    folder: Path | None = None
    """Official lists of UCF101 (trainlist01.txt …), HMDB51 (wave_test_split1.txt …) or Diving48
    (Diving48_train.json …)."""
    train: Path | None = None
    """List of training videos, one relative path per line, perhaps with a class number."""
    test: Path | None = None
    classes: Path | None = None
    """Class names, one per line, for lists that number their classes from 0."""


def refuse_options(what: object, **options: object) -> None:
    """Refuse options that would have no effect."""
    if given := [f"--{name.replace('_', '-')}" for name, value in options.items() if value]:
        official = "official splits are those of UCF101, HMDB51 and Diving48, with their lists"
        raise UsageError(
            f"{' and '.join(given)} means nothing for {what}",
            hint=official if options.get("split") else "leave it out",
        )


def read_json_list(file: Path) -> list[Any]:
    """Read a file that holds a list."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    try:
        rows = read_json(file)
    except ValueError as error:
        raise DamagedFileError(f"{file}: is not JSON: {error}", where=str(file)) from None
    if not isinstance(rows, list):
        raise DamagedFileError(f"{file}: holds no list", where=str(file))
    return rows


def read_entries(file: Path, root: Path) -> list[tuple[Video, str | None]]:
    """Read a list of `path` or `path class-number` lines; paths may contain spaces."""
    entries: list[tuple[Video, str | None]] = []
    for line in read_names(file):
        *path, last = line.rsplit(maxsplit=1)
        numbered = bool(path) and last.isdecimal()
        name = path[0] if numbered else line
        entries.append((Video(os.path.join(root, name)), last if numbered else None))
    return entries


def label_entries(
    entries: Sequence[tuple[Video, str | None]], lists: Lists, *, folders: bool
) -> list[Video]:
    """Label by the numbers if every line has one, else by folder if ``folders`` is set."""
    if all(number is not None for _, number in entries):
        names = list(read_names(lists.classes)) if lists.classes else None
        return [label_by_number(video, str(number), names) for video, number in entries]
    refuse_options("lists in which not every line has a class number", classes=lists.classes)
    if not folders:
        return [video for video, _ in entries]
    return [replace(video, label=Path(video.path).parent.name) for video, _ in entries]


def label_by_number(video: Video, number: str, names: list[str] | None) -> Video:
    """Label a video with a class number's name, or with the number where there are no names."""
    if names is None:
        return replace(video, label=number)
    try:
        place = int(number)
    except ValueError:  # digits by the thousand
        place = len(names)
    if place >= len(names):
        raise UsageError(
            f"{video.path} is of class {number}, but there are {len(names)} class names",
            hint="classes are numbered from 0",
        )
    return replace(video, label=names[place])


def read_table(file: Path, lists: Lists) -> list[Video]:
    """Read a CSV with a header that names path, or with columns path, label, split."""
    reader = csv.reader((line for _, line in read_lines(file, "")), skipinitialspace=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        where = f"{file}:{reader.line_num}"
        raise DamagedFileError(f"{where}: {error}", where=where) from None
    columns = ["path", "label", "split"]
    if rows and "path" in rows[0][1]:
        columns = rows.pop(0)[1]
    elif all(len(row) == 1 for _, row in rows):  # `path` or `path number` under this ending
        return label_entries(read_entries(file, file.parent), lists, folders=False)
    refuse_options(file, classes=lists.classes)
    return [
        _cut(f"{file}:{number}", file.parent, dict(zip(columns, row, strict=False)))
        for number, row in rows
    ]


def _cut(where: str, folder: Path, cells: dict[str, str]) -> Video:
    """Turn the cells of a table's row into a video."""
    path, split = cells.get("path"), cells.get("split") or None
    if not path:
        raise DamagedFileError(f"{where}: there is no path", where=where)
    if split not in (None, "train", "val", "test"):
        raise DamagedFileError(f"{where}: split is train, val or test, not {split!r}", where=where)
    return Video(
        os.path.join(folder, path), cells.get("label") or None, split, cells.get("group") or None
    )


def read_names(file: Path) -> Iterator[str]:
    """Yield the lines of a text file that are not blank."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    yield from (stripped for _, line in read_lines(file) if (stripped := line.strip()))


def only_present(videos: Iterable[Video], lists: object) -> list[Video]:
    """Leave out, and count, what official lists name and the folder does not have."""
    videos = list(videos)
    there = [video for video in videos if _is_there(video.path)]
    if not there:
        first = f", for example {videos[0].path}" if videos else ""
        raise UsageError(
            f"none of the {len(videos)} videos that {lists} names is there{first}",
            hint="DATA must be the folder that the paths in the lists start from",
        )
    if missing := len(videos) - len(there):
        say(f"{missing} of the {len(videos)} videos that {lists} names are not there")
    return there


def _is_there(path: str) -> bool:
    """Tell whether there is a file, be it one that cannot be read: that is told when it is."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True
