"""Filters: which videos of a gallery an SQL expression over their facts is true of."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search.facts import COLUMNS, FACTS, NUMBER, facts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from vidssl_cli.search.gallery import Gallery

_TOKEN = re.compile(
    r"""'[^']*'|"[^"]*"|`[^`]*`|\[[^]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|[()]|\bgroup\b""",
    re.IGNORECASE | re.DOTALL,
)
"""What is quoted or a comment, a bracket, or a word that needs quotes."""
_LONGEST = 1_000_000
"""Most bytes of a value or an expression."""


_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)


def matching(gallery: Gallery, expression: str) -> NDArray[np.int64]:
    """Return the numbers of the videos, without removed ones, of which an expression is true.

    Args:
        gallery: The videos.
        expression: What may follow ``WHERE`` in SQLite, over `COLUMNS` and without a ``SELECT``.

    Raises:
        UsageError: SQLite cannot evaluate it.
        DamagedFileError: The facts of a segment are not what vidssl writes.
    """
    with closing(facts_of()) as none:
        _select(none, expression)  # an expression with a mistake is refused before files are read
    found = []
    for segment, first in zip(gallery.segments, gallery.stamps.starts.tolist(), strict=True):
        with understood(segment.folder / FACTS), closing(segment.facts()) as facts:
            numbers = np.array(_select(facts, expression), np.int64)
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(segment):
                raise ValueError("it has other videos than the segment")
            found.append(first + numbers)
    with closing(facts_of(gallery.changed.items())) as facts:
        changed = _select(facts, expression)
    stale = np.union1d(gallery.removed, np.array([*gallery.changed], np.int64))
    items = np.union1d(np.setdiff1d(np.concatenate(found), stale), changed)
    return np.setdiff1d(items, gallery.removed).astype(np.int64)


def read_facts(gallery: Gallery, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Yield the number and some of `COLUMNS` of each video, without removed ones, in any order.

    Raises:
        DamagedFileError: The facts of a segment are not what vidssl writes.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    asked = f"SELECT {NUMBER}, {names} FROM videos"
    gone = set(gallery.removed.tolist())
    for segment, first in zip(gallery.segments, gallery.stamps.starts.tolist(), strict=True):
        with understood(segment.folder / FACTS), closing(segment.facts()) as facts:
            for number, *found in facts.execute(asked):
                if (item := first + number) not in gone and item not in gallery.changed:
                    yield item, *found
    with closing(facts_of(gallery.changed.items())) as facts:
        yield from (row for row in facts.execute(asked) if row[0] not in gone)


def _select(database: sqlite3.Connection, expression: str) -> list[int]:
    """Return the numbers of the videos of which an expression is true."""
    # GROUP is a word of SQL; as a column it would need quotes.
    quoted = _TOKEN.sub(
        lambda match: '"group"' if match[0].lower() == "group" else match[0], expression
    )
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    database.set_authorizer(_reading_alone())
    try:
        _require_one(expression)
        # The line break ends a comment, which would hide the bracket.
        rows = database.execute(f"SELECT {NUMBER} FROM videos WHERE ({quoted}\n)").fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        if getattr(error, "sqlite_errorcode", None) in _DAMAGED:
            raise
        raise UsageError(
            f"SQLite cannot evaluate {expression!r}: {error}",
            where="--where",
            hint=f"write an expression over {', '.join(COLUMNS)}, such as \"label = 'x' and "
            'duration > 3"',
        ) from None
    return [number for (number,) in rows]


def _require_one(expression: str) -> None:
    """Refuse what would end the brackets around an expression, and be more than that.

    Raises:
        ValueError: It closes a bracket that it does not open.
    """
    depth = 0
    for token in _TOKEN.findall(expression):
        depth += (token == "(") - (token == ")")
        if depth < 0:
            raise ValueError("it closes a bracket that it does not open")


def _reading_alone() -> Callable[..., int]:
    """Return an authorizer that allows one SELECT of the table, and functions."""
    selects = 0

    def authorise(action: int, first: str | None, *_: str | None) -> int:
        nonlocal selects
        selects += action == sqlite3.SQLITE_SELECT
        allowed = (
            (action == sqlite3.SQLITE_SELECT and selects == 1)
            or (action == sqlite3.SQLITE_READ and first == "videos")
            or action == sqlite3.SQLITE_FUNCTION
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorise
