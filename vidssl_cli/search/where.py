"""Filters: which videos of a gallery an SQL expression over their rows is true of."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search.segments import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from vidssl_cli.search.gallery import Gallery

COLUMNS = {
    "path": "TEXT",
    "label": "TEXT",
    "split": "TEXT",
    "group": "TEXT",
    "duration": "REAL",
    "fps": "REAL",
    "frames": "INTEGER",
    "width": "INTEGER",
    "height": "INTEGER",
}
"""Facts of a video that a filter can ask for, with their SQL types."""

_QUOTED_OR_GROUP = re.compile(r"""'[^']*'|"[^"]*"|\bgroup\b""", re.IGNORECASE)
_LONGEST = 1_000_000
"""Most bytes of a value or an expression."""


def matching(gallery: Gallery, expression: str) -> NDArray[np.int64]:
    """Return the numbers of the videos, without removed ones, of which an expression is true.

    Args:
        gallery: The videos.
        expression: What may follow ``WHERE`` in SQLite, over `COLUMNS` and without a ``SELECT``.

    Raises:
        UsageError: SQLite cannot evaluate it.
    """
    columns = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    marks = ", ".join("?" * (1 + len(COLUMNS)))
    database = sqlite3.connect(":memory:")
    try:
        database.execute(f"CREATE TABLE videos (item INTEGER PRIMARY KEY, {columns})")
        named = {"item"}
        _select(database, expression, named)  # an expression with a mistake is refused at once
        database.set_authorizer(None)
        rows = _rows(gallery, [name for name in COLUMNS if name in named])
        database.executemany(f"INSERT INTO videos VALUES ({marks})", rows)
        found = _select(database, expression, named)
    finally:
        database.close()
    return np.array(sorted(found), np.int64)


def _select(database: sqlite3.Connection, expression: str, columns: set[str]) -> list[int]:
    """Return the items of which an expression is true; add the columns that it reads."""
    # GROUP is a word of SQL; as a column it would need quotes.
    quoted = _QUOTED_OR_GROUP.sub(
        lambda match: '"group"' if match[0].lower() == "group" else match[0], expression
    )
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
    database.set_authorizer(_reading_alone(columns))
    try:
        # The line break ends a comment, which would hide the bracket.
        rows = database.execute(f"SELECT item FROM videos WHERE ({quoted}\n)").fetchall()
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise UsageError(
            f"SQLite cannot evaluate {expression!r}: {error}",
            where="--where",
            hint=f"write an expression over {', '.join(COLUMNS)}, such as \"label = 'x' and "
            'duration > 3"',
        ) from None
    return [item for (item,) in rows]


def _reading_alone(columns: set[str]) -> Callable[..., int]:
    """Return an authorizer that allows one SELECT of the table, and functions; it adds columns."""
    selects = 0

    def authorise(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        nonlocal selects
        selects += action == sqlite3.SQLITE_SELECT
        if action == sqlite3.SQLITE_READ and second:
            columns.add(second)
        allowed = (
            (action == sqlite3.SQLITE_SELECT and selects == 1)
            or (action == sqlite3.SQLITE_READ and first == "videos")
            or action == sqlite3.SQLITE_FUNCTION
        )
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorise


def _rows(gallery: Gallery, names: Sequence[str]) -> Iterator[list[object]]:
    """Yield item and facts of each video; those that are not named are left out."""
    removed, item = set(gallery.removed.tolist()), -1
    for segment in gallery.segments:
        with understood(segment.folder / ROWS):
            for number in range(len(segment)):
                item += 1
                if item in removed:
                    continue
                if item in gallery.changed or "path" in names:  # paths are relative to the rows
                    video = gallery.videos[item]
                    facts = {name: getattr(video, name) for name in names}
                else:  # checking a whole row takes ten times as long
                    facts = json.loads(segment.row(number).decode(errors="surrogateescape"))
                known = {name: _value(facts.get(name)) for name in names}
                yield [item, *map(known.get, COLUMNS)]


def _value(fact: object) -> object:
    """Return a fact as SQLite takes it: names of files need not be UTF-8."""
    if isinstance(fact, str):
        return fact.encode(errors="surrogateescape").decode(errors="replace")
    if fact is not None and not isinstance(fact, int | float):
        raise ValueError(f"{fact!r} is no fact of a video")
    return fact
