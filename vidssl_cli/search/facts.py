"""Facts of the videos of a segment as columns of an SQLite file, for filters.

Asking them takes a fraction of a second for a million videos; parsing their rows takes ten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from vidssl_cli.contract.videos import Video

FACTS = "facts.sqlite"
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
NUMBER = "_number"
"""Column of the video's number."""


def facts_of(videos: Iterable[tuple[int, Video]] = ()) -> sqlite3.Connection:
    """Return a database in memory with the table ``videos`` of numbered videos."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    _create(database)
    _insert(
        database,
        [[number, *(getattr(video, name) for name in COLUMNS)] for number, video in videos],
    )
    return database


def open_facts(path: Path) -> sqlite3.Connection:
    """Open what `FactsWriter` wrote.

    Raises:
        ValueError: It is something else, such as a view of a database that others made.
        sqlite3.DatabaseError: It is no database.
    """
    place = quote(str(path).encode(errors="surrogateescape"))
    database = sqlite3.connect(f"file:{place}?mode=ro&immutable=1", uri=True)
    try:
        for pragma in ("trusted_schema=OFF", "cell_size_check=ON", f"mmap_size={1 << 40}"):
            database.execute(f"PRAGMA {pragma}")
        tables = database.execute("SELECT type, name, sql FROM sqlite_schema").fetchall()
        if tables != [("table", "videos", _SCHEMA)]:
            raise ValueError(f"{FACTS} has other tables than vidssl writes")
    except Exception:
        database.close()
        raise
    return database


class FactsWriter:
    """Writes the facts of videos, in the order of their numbers, from 0."""

    def __init__(self, path: Path) -> None:
        """Make the file, which does not exist yet."""
        self._database = sqlite3.connect(path, isolation_level=None)
        # Whoever makes the file publishes it only when it is complete.
        self._database.execute("PRAGMA journal_mode=OFF")
        self._database.execute("PRAGMA synchronous=OFF")
        _create(self._database)
        self._rows = 0

    def add(self, rows: Sequence[bytes]) -> None:
        """Append videos by their lines in a manifest, whose paths are absolute."""
        _insert(self._database, list(self._numbered(rows)))

    def close(self) -> None:
        """Finish the file."""
        self._database.close()

    def _numbered(self, rows: Sequence[bytes]) -> Iterator[list[object]]:
        for row in rows:
            facts = json.loads(row.decode(errors="surrogateescape"))
            yield [self._rows, *map(facts.get, COLUMNS)]
            self._rows += 1


_SCHEMA = (
    f"CREATE TABLE videos ({NUMBER} INTEGER PRIMARY KEY, "
    + ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
    + ")"
)


def _create(database: sqlite3.Connection) -> None:
    database.execute(_SCHEMA)


def _insert(database: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    command = f"INSERT INTO videos VALUES ({', '.join('?' * (1 + len(COLUMNS)))})"
    database.execute("BEGIN")
    try:
        database.executemany(command, rows)
    except UnicodeEncodeError:  # a name that is not UTF-8, which SQLite does not take
        database.execute("ROLLBACK")
        database.execute("BEGIN")
        database.executemany(command, [[*map(_utf8, row)] for row in rows])
    database.execute("COMMIT")


def _utf8(fact: object) -> object:
    if isinstance(fact, str):
        return fact.encode(errors="surrogateescape").decode(errors="replace")
    return fact
