"""The videos below a folder: by name, through links, past what systems leave behind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, MediaError
from vidssl_cli.files.confine import Root, out_of_bounds

SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".avif", ".dv", ".flv", ".gif", ".h264", ".hevc", ".ivf"),
    *(".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut"),
    *(".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv"),
)
"""Endings of files that a folder is searched for."""

STRAYS = frozenset(
    {
        *("__macosx", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "$recycle.bin"),
        *("recycler", "system volume information", "lost+found", "__pycache__"),
    }
)
"""Folders that archives, file servers and operating systems leave behind, in lower case."""
_APPLE_DOUBLE = b"\x00\x05\x16\x07"


class Walk:
    """One search of a folder; afterwards it knows what it did not take."""

    def __init__(self, folder: Path, bounds: Root | None, broken: list[MediaError]) -> None:
        """Prepare the search.

        Args:
            folder: Where the user said that the videos are.
            bounds: What links must lead into; None lets them lead anywhere.
            broken: Receives an error for every folder that cannot be read.
        """
        self.folder = folder
        self.bounds = bounds
        self.broken = broken
        self._real = os.path.realpath(folder)
        self._seen: set[str] = set()
        self._strays: list[str] = []
        self._outside: list[str] = []

    def videos(self) -> list[Path]:
        """Return every video: those of a folder by name, then those of the folders in it.

        Raises:
            DamagedFileError: A link leads out of bounds, or to a folder that DATA lies in.
        """
        found = list(self._below(str(self.folder)))
        if self._strays:
            say(f"{_counted(self._strays)} passed over as left behind by a system or an archive")
        if self._outside:
            say(f"{_counted(self._outside)} found through links that lead out of {self.folder}")
        return found

    def by_name(self) -> dict[str, str]:
        """Return every video by its name without ending, the first where several have the same."""
        found: dict[str, str] = {}
        twice = []
        for path in self.videos():
            if found.setdefault(path.stem, str(path)) != str(path):
                twice.append(str(path))
        if twice:
            say(f"{_counted(twice)} passed over, because another folder has a video of that name")
        return found

    def _below(self, folder: str) -> Iterator[Path]:
        real = os.path.realpath(folder)
        if real in self._seen:  # a link leads around in a circle, or here a second time
            return
        self._seen.add(real)
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self._leave_out(folder, error)
            return
        folders = []
        for entry in entries:
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # a link to itself, say
                self._leave_out(entry.path, error)
                continue
            if is_folder and not entry.name.startswith("."):
                folders.append(entry)
            elif not is_folder and self._is_video(entry):
                yield Path(entry.path)
        for entry in folders:
            if entry.name.lower() in STRAYS:
                self._strays.append(entry.path)
                continue
            if entry.is_symlink():
                self._follow(entry.path, is_folder=True)
            yield from self._below(entry.path)

    def _is_video(self, entry: os.DirEntry[str]) -> bool:
        """Tell a video by its name."""
        if os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
            if entry.is_symlink() and not os.path.exists(entry.path):  # it may be a class
                self._leave_out(entry.path, FileNotFoundError(2, "leads to nothing that is there"))
            return False
        if _accompanies(entry):
            self._strays.append(entry.path)
            return False
        if entry.is_symlink():
            self._follow(entry.path)
        return True

    def _follow(self, path: str, *, is_folder: bool = False) -> None:
        """Check where a link leads before anybody looks what is there, which may be everything."""
        real = os.path.realpath(path)
        if os.path.commonpath([self._real, real]) == self._real:
            return
        if is_folder and os.path.commonpath([self._real, real]) == real:
            raise DamagedFileError(
                f"leads to {real}, which holds all of DATA",
                where=path,
                hint="delete the link, or give that folder as DATA",
            )
        if self.bounds and not self.bounds.holds(path):
            raise out_of_bounds(path, self.bounds)
        self._outside.append(path)

    def _leave_out(self, path: str, error: OSError) -> None:
        self.broken.append(MediaError(f"cannot be read: {error.strerror}", where=path))


def _accompanies(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file is what macOS keeps beside one on foreign disks: `._a.mp4`."""
    if not entry.name.startswith("._") or not os.path.exists(
        os.path.join(os.path.dirname(entry.path), entry.name[2:])
    ):
        return False
    try:
        with open(entry.path, "rb") as file:
            return file.read(4) == _APPLE_DOUBLE
    except OSError:  # reading it as a video says what is wrong
        return False


def _counted(paths: list[str]) -> str:
    """Say how many, and the first."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}:"
