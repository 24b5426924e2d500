"""What lists have in common: options, lines, JSON rows, and errors that name a line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.base.wording import counted
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
    """Which of the official splits, 1 to 3; of Diving48, 1 (first labels) or 2 (corrected); of
    FineGym, 1 (Gym99) or 2 (Gym288)."""
    folder: Path | None = None
    """Folder of the official lists: `datasets.read_official`."""
    train: Path | None = None
    """List of training videos, one relative path per line, perhaps with a class number."""
    test: Path | None = None
    classes: Path | None = None
    """Class names of lists with class numbers: `class_names.read_classes`."""
    hold_out: float | None = None
    """Share of each class to test on, if DATA has no splits: `hold_out`."""


def refuse_options(what: object, **options: object) -> None:
    """Refuse options that would have no effect."""
    if given := [f"--{name.replace('_', '-')}" for name, value in options.items() if value]:
        sets = "UCF101, HMDB51, Diving48 and FineGym"
        official = f"official splits are those of {sets}, with their lists"
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


def misfit(file: Path, line: int, problem: str, hint: str) -> DamagedFileError:
    """Return the error for a line that does not fit the others."""
    where = f"{file}:{line}"
    return DamagedFileError(f"{where}: {problem}", where=where, hint=hint)


def read_names(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file that are not blank, with their numbers."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    for number, line in read_lines(file):
        if stripped := line.strip():
            yield number, stripped


def require_text(file: Path, line: int, text: str, *, name: str | None = None) -> None:
    """Refuse bytes that are not UTF-8, except in the name of a file that is there.

    Args:
        file: Where the text is from.
        line: Number of its line.
        text: With surrogates for such bytes.
        name: File that it is the name of.

    Raises:
        DamagedFileError: The text has such bytes, or NUL characters.
    """
    if text.isascii() and "\0" not in text:
        return
    for place, char in enumerate(text):
        if char == "\0":
            hint = "save it as UTF-8; UTF-16 needs a byte order mark"
            problem = f"{text!r} is not the name of a file or class, for it has NUL characters"
            raise misfit(file, line, problem, hint)
        if "\udc80" <= char <= "\udcff" and not (name and os.path.lexists(name)):
            problem = f"the byte 0x{ord(char) - 0xDC00:02x} after {text[:place]!r} is not UTF-8"
            hint = f"save it as UTF-8, for example by `iconv -f WINDOWS-1252 -t UTF-8 {file.name}`"
            raise misfit(file, line, problem, hint)


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
        others = f"of the {counted(len(named), 'video')} that {lists} names"
        say(f"{counted(missing, f'{others} is', f'{others} are')} not there")
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
