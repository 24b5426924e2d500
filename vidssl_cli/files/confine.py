"""Confines the files of DATA to a folder, whatever paths and links say."""

from __future__ import annotations

import os
from pathlib import Path

HINT = "if this is intended, give a folder that contains both as --data-root"


class Root:
    """A folder, and all that is in it once links are followed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = os.path.realpath(folder)
        self._links: dict[str, frozenset[str]] = {}

    def __str__(self) -> str:
        return self.folder

    def holds(self, path: str) -> bool:
        """Tell whether a path, absolute and without ``..``, leads into the folder."""
        folder, name = os.path.split(path)
        if folder not in self._links:
            self._links[folder] = _links(folder) if self._reaches(folder) else frozenset({name})
        return name not in self._links[folder] or self._reaches(path)

    def _reaches(self, path: str) -> bool:
        real = os.path.realpath(path)
        return os.path.commonpath([self.folder, real]) == self.folder


def _links(folder: str) -> frozenset[str]:
    """Return which entries of a folder are links; one listing is faster than a check per file."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # it does not exist
        return frozenset()
