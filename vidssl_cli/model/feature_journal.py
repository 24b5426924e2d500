"""A journal of features: kept as they are computed, for the run that goes on after this one.

Indexes, files of features and evaluation keep what they have embedded in one, until it is where it
is meant to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.files.journal import Journal
from vidssl_cli.files.untrusted_text import understood


class FeatureJournal(Journal):
    """A journal whose records are of plain values and arrays in single precision."""

    def __init__(self, path: Path, key: Any) -> None:
        """Open the journal, as any."""
        super().__init__(path, ["arrays", key])
        self._place = path

    def add(self, row: Any, arrays: Sequence[NDArray[np.float32]]) -> None:
        """Add a record.

        Raises:
            NoRoomError: The disk is full; the records before are kept.
        """
        content = b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in arrays)
        self.append([row, *(array.shape for array in arrays)], content)

    def rows(self) -> Iterator[tuple[Any, list[NDArray[np.float32]]]]:
        """Yield the records in the order in which they were added.

        Raises:
            DamagedFileError: They are not what `add` writes.
        """
        for record, content in self.records():
            with understood(self._place):
                row, *shapes = record
                ends = np.cumsum([math.prod(shape) for shape in shapes])
                parts = np.split(np.frombuffer(content, "<f4"), ends[:-1])
                arrays = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
            yield row, arrays
