"""A file whose container is walked over: bytes at places, and an error where some are missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO


class Broken(Exception):
    """Something is missing or broken, and the walk ends."""


@dataclass
class ContainerFile:
    """A file that is open for reading."""

    path: str
    content: BinaryIO
    size: int
    listed: int | None = None
    """Frames in the table of an AVI file, once it was seen."""

    def read(self, position: int, count: int) -> bytes:
        """Return bytes, fewer at the end of the file."""
        self.content.seek(position)
        return self.content.read(count)

    def require(self, end: int) -> None:
        """Say so if the file ends too early."""
        if end > self.size:
            raise Broken(f"cut short: has {self.size} bytes, and should have {end} or more")
