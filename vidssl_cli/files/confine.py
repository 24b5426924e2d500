"""Confines the files of DATA to folders.

A list, a manifest or a packed set may be written by somebody else than the user who runs the
command, and name files of that user. What the user names on the command line is not confined.
"""

from __future__ import annotations

import os
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError

HINT = "if this is intended, give a folder that contains both as --data-root"


class Root:
    """Folders, and all that is below them once links are followed."""

    def __init__(self, *folders: str | Path) -> None:
        self.folders = tuple(os.path.realpath(folder) for folder in folders)
        self._links: dict[str, frozenset[str] | None] = {}
        """Which entries of a folder are links, None where the folder itself leads out."""

    def __str__(self) -> str:
        return " and ".join(self.folders)

    def holds(self, path: str) -> bool:
        """Tell whether a path, absolute and without ``..``, leads to something in the folders."""
        folder, name = os.path.split(path)
        if folder not in self._links:
            self._links[folder] = _links(folder) if self._reaches(folder) else None
        links = self._links[folder]
        return (links is not None and name not in links) or self._reaches(path)

    def widened(self, *folders: str | Path) -> Root:
        """Return a root that has these folders too."""
        return Root(*self.folders, *folders)

    def _reaches(self, path: str) -> bool:
        real = os.path.realpath(path)
        return any(os.path.commonpath([folder, real]) == folder for folder in self.folders)


def out_of_bounds(path: str, bounds: Root) -> DamagedFileError:
    """Return the error for a path that leads out of bounds."""
    return DamagedFileError(
        f"leads to {os.path.realpath(path)}, out of {bounds}", where=path, hint=HINT
    )


def _links(folder: str) -> frozenset[str]:
    """Return which entries of a folder are links; one listing is faster than a check per file."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # it does not exist
        return frozenset()
