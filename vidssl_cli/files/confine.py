"""Where the files of DATA may lie: names that others wrote, and links, lead nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

HINT = "if that is meant, give a folder that holds both as --data-root"


class Root:
    """A folder, and all that is below it once links are followed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = os.path.realpath(folder)
        self._links: dict[str, frozenset[str]] = {}

    def __str__(self) -> str:
        return self.folder

    def holds(self, path: str) -> bool:
        """Tell whether a path, absolute and without ``..``, leads to something in the folder."""
        folder, name = os.path.split(path)
        if folder not in self._links:
            self._links[folder] = _links(folder) if self._reaches(folder) else frozenset({name})
        return name not in self._links[folder] or self._reaches(path)

    def _reaches(self, path: str) -> bool:
        real = os.path.realpath(path)
        return os.path.commonpath([self.folder, real]) == self.folder


def _links(folder: str) -> frozenset[str]:
    """Return which names in a folder are links; looking once is faster than at every file."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # what is not there leads nowhere
        return frozenset()
