"""Reads the names of numbered classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import misfit, read_names, require_text

_FIRST = re.compile(r"(?P<number>\d{1,9})[\s,;:|]+(?P<name>\S.*)")
_LAST = re.compile(r"(?P<name>.*[^\s,;:|])[\s,;:|]+(?P<number>\d{1,9})")
_HEADERS = {
    *("action", "actions", "category", "class", "class_id", "class_name", "classes", "id", "index"),
    *("label", "label_id", "labels", "name", "names", "number"),
}
_MARKS = re.compile(r"[\s,;:|]+")

Lines = Sequence[tuple[int, str]]


def read_classes(file: Path) -> dict[int, str]:
    """Read class names by number.

    A file has lines `name`, which are numbered from 0, or lines `number name`, or lines `name
    number` with different names and every number from 0 or 1 on; there may be a header.

    Raises:
        DamagedFileError: Only some lines have a number, a number or name is there twice, or a line
            is a comment or JSON.
    """
    lines = list(read_names(file))
    for place, line in lines:
        require_text(file, place, line)
        if line.startswith("#"):
            raise misfit(file, place, f"{line!r} is a comment, not a class", "delete the line")
        if line[0] in "{[" or line[-1] in "{[":
            hint = "give a text file with a name on each line"
            raise misfit(file, place, f"{line!r} is not the name of a class", hint)
    if lines and {*_MARKS.split(lines[0][1].lower())} <= _HEADERS:
        (place, line), *lines = lines
        say(f"{file}:{place}: {line!r} is taken for a header, not for a class")
    if 2 * sum(bool(_FIRST.fullmatch(line)) for _, line in lines) > len(lines):
        return _numbered(file, lines, _FIRST)  # else a class may be called `3 point shot`
    if _ends_in_numbers(lines):
        return _numbered(file, lines, _LAST)
    return _named(file, lines)


def _ends_in_numbers(lines: Lines) -> bool:
    """Tell whether most lines are `name number`; classes may also be called `zone 1`, `zone 2`."""
    matches = [match for _, line in lines if (match := _LAST.fullmatch(line))]
    if 2 * len(matches) <= len(lines):
        return False
    numbers = sorted(int(match["number"]) for match in matches)
    counts = Counter(match["name"] for match in matches)
    return max(counts.values()) == 1 and numbers in (
        [*range(len(matches))],
        [*range(1, len(matches) + 1)],
    )


def _numbered(file: Path, lines: Lines, form: re.Pattern[str]) -> dict[int, str]:
    matches = [form.fullmatch(line) for _, line in lines]
    names: dict[int, str] = {}
    for (place, line), match in zip(lines, matches, strict=True):
        if match is None:
            numbered = sum(other is not None for other in matches)
            others = f"unlike {numbered} of {len(lines)} lines"
            hint = "number all lines, such as `0 run`, or none"
            raise misfit(file, place, f"{line!r} has no number, {others}", hint)
        name = _unquoted(match["name"])
        if names.setdefault(int(match["number"]), name) != name:
            raise misfit(file, place, f"a second class {match['number']}", "number each once")
    return names


def _named(file: Path, lines: Lines) -> dict[int, str]:
    first: dict[str, int] = {}
    for place, line in lines:
        if (before := first.setdefault(_unquoted(line), place)) != place:
            hint = "delete the line, if it is there by mistake, or number all lines"
            raise misfit(file, place, f"the class {line!r} is in line {before} too", hint)
    return dict(enumerate(first))


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] == '"' else name


def label_by_number(video: Video, number: str, names: Mapping[int, str] | None) -> Video:
    """Label a video with a class number's name, or with the number where there are no names."""
    if names is None:
        return replace(video, label=number)
    try:
        return replace(video, label=names[int(number)])
    except (KeyError, ValueError):  # int() refuses thousands of digits
        first = min(names, default=0)
        named = counted(len(names), "class has a name", "classes have names")
        raise UsageError(
            f"{video.path} is of class {number}, but {named}",
            hint=f"they are numbered from {first}; other numbers need lines like `1 name`",
        ) from None
