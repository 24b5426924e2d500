"""Videos of a folder that are complete: what is still being written is left for later.

Folders are looked through again and again, since network file systems do not tell of changes.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.data.packed_set import is_packed_set
from vidssl_cli.data.walk import Walk
from vidssl_cli.media.open_file import stamp

WAIT = 5.0
"""Seconds without a change after which a file counts as complete."""


class SettledFiles:
    """Tells which videos of a folder have not changed for a while."""

    def __init__(self, folder: Path) -> None:
        """Set where to look.

        Raises:
            UsageError: It is not a folder of videos.
        """
        self._folder = Path(os.path.abspath(folder))
        if not self._folder.is_dir() or is_packed_set(self._folder):
            raise UsageError(f"{folder} is not a folder of videos, so it cannot be watched")
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def has(self, path: str) -> bool:
        """Tell whether the last look saw a video, complete or not."""
        return path in self._seen

    def look(self) -> dict[str, tuple[int, int]]:
        """Return size and time of change in ns of each video that is complete, by path."""
        clock, now = time.time(), time.monotonic()
        seen, complete = {}, {}
        for path in map(str, Walk(self._folder, None, [], Counter()).paths()):
            with suppress(MediaError):  # it has gone meanwhile, or is no file
                facts = stamp(path)
                before, since = self._seen.get(path, (None, now))
                seen[path] = facts, since if facts == before else now
                if now - seen[path][1] >= WAIT or clock - facts[1] / 1e9 >= WAIT:
                    complete[path] = facts
        self._seen = seen
        return complete
