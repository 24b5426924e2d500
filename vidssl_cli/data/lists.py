"""Reads lists of videos, of classes, and of JSON rows; `data.table` reads tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.untrusted_text import read_json, read_lines

LARGEST_LIST = 1 << 26
"""Bytes of a JSON list; the largest that is known, of Something-Something, has 26 million."""

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validate", "validation"), "val"),
}
"""Words for splits, in lower case."""


@dataclass(frozen=True)
class Lists:
    """Where the labels and splits of a folder or list come from, if not from its folders."""

    split: int = 1
    """Which of the official splits, 1 to 3; of Diving48, 1 (first labels) or 2 (corrected)."""
    folder: Path | None = None
    """Folder of the official lists: `datasets.read_official`."""
    train: Path | None = None
    """List of training videos, one relative path per line, perhaps with a class number."""
    test: Path | None = None
    classes: Path | None = None
    """Class names of lists with class numbers: `read_classes`."""
    hold_out: float | None = None
    """Share of each class to test on, if DATA has no splits: `hold_out`."""


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
        rows = read_json(file, LARGEST_LIST)
    except ValueError as error:
        raise DamagedFileError(f"{file}: is not JSON: {error}", where=str(file)) from None
    if not isinstance(rows, list):
        raise DamagedFileError(f"{file}: holds no list", where=str(file))
    return rows


def read_entries(file: Path, root: Path) -> list[tuple[Video, str | None]]:
    """Read a list of `path` or `path class-number` lines; paths may contain spaces.

    Raises:
        DamagedFileError: Only some lines have a class number, or one is a comment.
    """
    lines = list(read_names(file))
    entries: list[tuple[Video, str | None]] = []
    for place, line in lines:
        *path, last = line.rsplit(maxsplit=1)
        numbered = bool(path) and last.isdecimal()
        name = os.path.join(root, path[0] if numbered else line)
        if line.startswith("#") and not os.path.exists(name):
            raise misfit(file, place, f"{line!r} is the name of no file", "delete the line")
        entries.append((Video(name), last if numbered else None))
    numbered_lines = [number is not None for _, number in entries]
    usual = 2 * sum(numbered_lines) >= len(entries)
    if len({*numbered_lines}) > 1:
        place, line = lines[numbered_lines.index(not usual)]
        found = "has no class number" if usual else "ends in a class number"
        others = f"unlike {numbered_lines.count(usual)} of {len(lines)} lines"
        raise misfit(file, place, f"{line!r} {found}, {others}", "give all lines one, or none")
    return entries


def misfit(file: Path, line: int, problem: str, hint: str) -> DamagedFileError:
    """Return the error for a line that does not fit the others."""
    where = f"{file}:{line}"
    return DamagedFileError(f"{where}: {problem}", where=where, hint=hint)


def label_entries(
    entries: Sequence[tuple[Video, str | None]], lists: Lists, *, folders: bool
) -> list[Video]:
    """Label by the numbers if every entry has one, else by folder if ``folders`` is set."""
    if all(number is not None for _, number in entries):
        names = read_classes(lists.classes) if lists.classes else None
        return [label_by_number(video, str(number), names) for video, number in entries]
    refuse_options("lists in which not every line has a class number", classes=lists.classes)
    if not folders:
        return [video for video, _ in entries]
    if any(number is not None for _, number in entries):
        say("only one of the two lists has class numbers; classes are the videos' folders instead")
    return [replace(video, label=Path(video.path).parent.name) for video, _ in entries]


_NUMBERED = re.compile(r"(?P<number>\d{1,9})[\s,;:]+(?P<name>\S.*)")


def read_classes(file: Path) -> dict[int, str]:
    """Read class names by number.

    A file has lines `name`, which are numbered from 0, or lines `number name`.

    Raises:
        DamagedFileError: Only some lines begin with a number, two have the same, or one is a
            comment.
    """
    lines = list(read_names(file))
    matches = [_NUMBERED.fullmatch(line) for _, line in lines]
    numbered = sum(match is not None for match in matches)
    for place, line in lines:
        if line.startswith("#"):
            raise misfit(file, place, f"{line!r} is a comment, not a class", "delete the line")
    if 2 * numbered <= len(lines):  # a class may be called `3 point shot`
        return dict(enumerate(line for _, line in lines))
    names: dict[int, str] = {}
    for (place, line), match in zip(lines, matches, strict=True):
        if match is None:
            others = f"unlike {numbered} of {len(lines)} lines"
            raise misfit(file, place, f"{line!r} has no number, {others}", "number all, or none")
        if names.setdefault(int(match["number"]), match["name"]) != match["name"]:
            raise misfit(file, place, f"a second class {match['number']}", "number each once")
    return names


def label_by_number(video: Video, number: str, names: Mapping[int, str] | None) -> Video:
    """Label a video with a class number's name, or with the number where there are no names."""
    if names is None:
        return replace(video, label=number)
    try:
        return replace(video, label=names[int(number)])
    except (KeyError, ValueError):  # int() refuses thousands of digits
        first = min(names, default=0)
        raise UsageError(
            f"{video.path} is of class {number}, but there are {len(names)} class names",
            hint=f"they are numbered from {first}; other numbers need lines like `1 name`",
        ) from None


def read_names(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    for number, line in read_lines(file):
        if stripped := line.strip():
            yield number, stripped


def only_present(
    named: Iterable[Video], lists: object, absent: list[Video] | None = None
) -> list[Video]:
    """Return the videos that exist; how many do not is told on stderr.

    The split ``val`` becomes ``test`` if no test video that exists has a label.

    Args:
        named: Videos of a list.
        lists: Name of the list, for messages.
        absent: Receives the videos that do not exist.

    Raises:
        UsageError: None exists.
    """
    named = list(named)
    there = {id(video) for video in named if _is_there(video.path)}
    if not there:
        first = f", for example {named[0].path}" if named else ""
        raise UsageError(
            f"none of the {len(named)} videos that {lists} names is there{first}",
            hint="DATA must be the folder that the paths in the lists start from",
        )
    if missing := len(named) - len(there):
        say(f"{missing} of the {len(named)} videos that {lists} names are not there")
    tested = any(v.split == "test" and v.label is not None for v in named if id(v) in there)
    present = []
    for video in named:
        settled = replace(video, split="test") if video.split == "val" and not tested else video
        if id(video) in there:
            present.append(settled)
        elif absent is not None:
            absent.append(settled)
    return present


def _is_there(path: str) -> bool:
    """Tell whether a file exists; one that cannot be looked up may, and reading it says why."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True
