"""A journal: results of a long run, kept as they come, for the run that goes on after this one.

A record is a line ``<digest> <JSON of [size, row]>`` and ``size`` bytes of content. The digest is
of both, so a record that a crash cut off is known, and dropped with all that follows. The first
record has the key: what all others depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from vidssl_cli.files.disk_space import room_for
from vidssl_cli.files.untrusted_text import require_regular

_SECONDS = 5
"""Most seconds of work that a power failure may take; a killed process loses the last record."""
_LONGEST_LINE = 1 << 24


class Journal:
    """A journal, open for reading what is there and adding to it, by one process at a time."""

    def __init__(self, path: Path, key: Any) -> None:
        """Open the journal; what is there under another key, or after damage, is dropped.

        Args:
            path: The file; its folder exists.
            key: Plain values on which all records depend.

        Raises:
            NoRoomError: The disk is full.
        """
        require_regular(path)
        self._path = path
        self._file = open(path, "a+b", 0, opener=_open_no_link)  # noqa: SIM115
        self._flushed = time.monotonic()
        with path.open("rb") as file:
            known = _read(file) == (key, b"")
        if not known:
            self._file.truncate(0)
            self.append(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def records(self) -> Iterator[tuple[Any, bytes]]:
        """Yield row and content of each record, in the order in which they were added."""
        with self._path.open("rb") as file:
            _read(file)  # the key
            place = file.tell()
            while record := _read(file):
                place = file.tell()
                yield record
        self._file.truncate(place)

    def append(self, row: Any, content: bytes = b"") -> None:
        """Add a record: plain values and bytes.

        Raises:
            NoRoomError: The disk is full; the records before are kept.
        """
        text = json.dumps([len(content), row])
        record = b"%s %s\n%s" % (_digest(text.encode(), content), text.encode(), content)
        with room_for(self._path, len(record)):
            while record:
                record = record[self._file.write(record) :]
            if time.monotonic() - self._flushed > _SECONDS:
                os.fsync(self._file.fileno())
                self._flushed = time.monotonic()

    def delete(self) -> None:
        """Delete it: what it holds is elsewhere now."""
        self._path.unlink(missing_ok=True)


def read_journal(path: Path, key: Any) -> Iterator[tuple[Any, bytes]]:
    """Yield the records of a journal that another process may be adding to; nothing if it is gone.

    Args:
        path: The file.
        key: As for `Journal`; one with another key has nothing to yield.
    """
    require_regular(path)
    with suppress(FileNotFoundError), path.open("rb") as file:
        if _read(file) == (key, b""):
            while record := _read(file):
                yield record


def _read(file: IO[bytes]) -> tuple[Any, bytes] | None:
    """Read the next record; None at the end, and where it is damaged."""
    digest, _, text = file.readline(_LONGEST_LINE).partition(b" ")
    with suppress(ValueError, TypeError, RecursionError):
        size, row = json.loads(text)
        content = file.read(size) if 0 <= size <= os.fstat(file.fileno()).st_size else b""
        if digest == _digest(text.rstrip(b"\n"), content):
            return row, content
    return None


def _digest(text: bytes, content: bytes) -> bytes:
    return hashlib.sha256(text + b"\n" + content).hexdigest()[:32].encode()


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)
