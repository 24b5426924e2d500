"""Columns: rows of numbers that lie in several files, one after another, and are read when needed.

Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLOCK = 1 << 14
"""Rows that are worked on at once: some tens of megabytes."""


class Column:
    """Arrays (n, …) of one kind as one (N, …), without copying them."""

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        """Take the parts, of which there is at least one."""
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])
        self.starts = self.ends - [len(part) for part in parts]
        self.shape = (int(self.ends[-1]), *parts[0].shape[1:])
        self.dtype = parts[0].dtype

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Return rows as an array: of an integer one row, of a slice or of integers (n,) those."""
        if isinstance(rows, int | np.integer):
            part, row = self.place(int(rows))
            found: NDArray[Any] = self.parts[part][row]
            return found
        if len(self.parts) == 1:
            return np.array(self.parts[0][rows])
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows, np.int64)
        owners = np.searchsorted(self.ends, rows, side="right")
        taken = np.empty((len(rows), *self.shape[1:]), self.parts[0].dtype)
        for number in np.unique(owners):
            mine = owners == number
            taken[mine] = self.parts[number][rows[mine] - self.starts[number]]
        return taken

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows."""
        return np.concatenate(self.parts, dtype=dtype)

    def place(self, row: int) -> tuple[int, int]:
        """Return which part a row is in, and its number there."""
        part = int(np.searchsorted(self.ends, row, side="right"))
        if row < 0 or part == len(self.parts):
            raise IndexError(row)
        return part, row - int(self.starts[part])

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the number of a first row, and at most `BLOCK` rows from it, without copying."""
        last = len(self) if last is None else last
        for begin, part in zip(self.starts.tolist(), self.parts, strict=True):
            low, high = max(first - begin, 0), min(last - begin, len(part))
            for row in range(low, high, BLOCK):
                yield begin + row, part[row : min(row + BLOCK, high)]


class ColumnWriter:
    """Writes an array file (.npy) row after row, of which more may be than memory holds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._header: dict[str, Any] = {}
        self.rows = 0

    def add(self, rows: NDArray[Any]) -> None:
        """Append rows (n, …), all of one kind."""
        if self._file is None:
            self._file = self._path.open("wb")
            self._header = {"descr": rows.dtype.str, "fortran_order": False}
            self._shape = rows.shape[1:]
            self._write_header()
        self._file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def close(self) -> None:
        """Finish the file."""
        if self._file:
            self._file.seek(0)
            self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        """Write the header; numpy leaves room in it for as many rows as a file can have."""
        assert self._file
        shape = (self.rows, *self._shape)
        np.lib.format.write_array_header_1_0(self._file, self._header | {"shape": shape})
