"""Reads text from others; refuses what is ambiguous, too deeply nested or too large."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError, VidsslError

LARGEST = 1 << 24
"""Most bytes of a JSON document; parsed, it may take twenty times as many."""
LONGEST = 1 << 22
"""Most characters of a line; the longest is the row of a long video of keyframes only."""


def require_regular(path: Path) -> None:
    """Refuse a pipe or the like, which might never end.

    Raises:
        DamagedFileError: The path is no regular file.
    """
    if path.exists() and not path.is_file():
        raise DamagedFileError("is not a regular file", where=str(path))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON in which every key occurs once.

    Raises:
        ValueError: It is something else; a `json.JSONDecodeError` has the place.
    """
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def read_json(path: Path, most: int = LARGEST) -> Any:
    """Read a file of one JSON document.

    Raises:
        OSError: It cannot be read.
        DamagedFileError: It is no regular file.
        ValueError: It is larger than ``most`` bytes, or `parse_json` refuses it.
    """
    return parse_json(read_bounded(path, most))


def read_bounded(path: Path, most: int = LARGEST) -> bytes:
    """Read a file of one document.

    Raises:
        OSError: It cannot be read.
        DamagedFileError: It is no regular file.
        ValueError: It is larger than ``most`` bytes.
    """
    require_regular(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"is larger than {most} bytes")
    return content


def read_lines(path: Path, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file with their numbers, from 1.

    Names of files need not be UTF-8; surrogateescape preserves them. A file that begins with the
    byte order mark of UTF-16 is read as that.

    Args:
        path: The file.
        newline: As for `open`.

    Raises:
        DamagedFileError: A line is longer than `LONGEST`, it is no regular file, or broken UTF-16.
    """
    require_regular(path)
    with path.open("rb") as file:
        marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding = "utf-16" if marked else "utf-8-sig"
    with path.open(encoding=encoding, errors="surrogateescape", newline=newline) as file:
        for number in count(1):
            try:
                line = file.readline(LONGEST + 1)
            except UnicodeDecodeError as error:
                raise DamagedFileError(
                    f"{path}:{number}: is not UTF-16: {error.reason}", where=str(path)
                ) from None
            if not line:
                return
            if len(line) > LONGEST:
                raise DamagedFileError(
                    f"{path}:{number}: the line has more than {LONGEST} characters",
                    where=str(path),
                )
            yield number, line


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Turn any error of a parser into the error of a file that vidssl did not write.

    A digest is no signature: a file with the right one may still contain anything.

    Raises:
        DamagedFileError: Anything but a `VidsslError` or `OSError` was raised inside.
    """
    try:
        yield
    except (VidsslError, OSError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DamagedFileError(
            f"is not what vidssl writes: {reason}",
            where=str(path),
            hint="do not use it: it was made by something else",
        ) from error


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise ValueError(f"the key {twice!r} occurs twice")
    return found
