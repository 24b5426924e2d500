"""Searches a folder for videos, by their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, MediaError
from vidssl_cli.base.wording import by_kind, counted
from vidssl_cli.files.confine import Root, out_of_bounds

SUFFIXES = (
    *(".264", ".265", ".3g2", ".3gp", ".asf", ".avc", ".avi", ".avif", ".divx", ".dv", ".f4v"),
    *(".flv", ".gif", ".h264", ".h265", ".hevc", ".insv", ".ismv", ".ivf", ".lrv", ".m1v"),
    *(".m2p", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4"),
    *(".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm"),
    *(".rmvb", ".tod", ".trp", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".xvid"),
)
"""Endings of files that a folder is searched for."""

STRAYS = frozenset(
    {
        *("__macosx", "@eadir", "#recycle", "@recycle", "@recently-snapshot", "$recycle.bin"),
        *("recycler", "system volume information", "lost+found", "__pycache__"),
    }
)
"""Folders that archives, file servers and operating systems leave behind, in lower case."""
STRAY_FILES = frozenset({"desktop.ini", "thumbs.db", "ehthumbs.db"})
"""Files likewise."""
_OWN = re.compile(r".*\.jsonl(\.sha256|\.part)?", re.IGNORECASE)
"""Manifests, which a scan writes into DATA."""
_APPLE_DOUBLE = b"\x00\x05\x16\x07"


class Walk:
    """A search of a folder for videos. What it passes over is told on stderr."""

    def __init__(
        self, folder: Path, bounds: Root | None, broken: list[MediaError], others: Counter[str]
    ) -> None:
        """Set what to search.

        Args:
            folder: Where the videos are.
            bounds: Links must lead into it; None lets them lead anywhere.
            broken: Receives an error for every folder that cannot be read, and every link that
                leads nowhere.
            others: Counts the files that do not have the ending of a video, by ending.
        """
        self.folder = folder
        self.bounds = bounds
        self.broken = broken
        self._real = os.path.realpath(folder)
        self._strays: list[str] = []
        self._outside: list[str] = []
        self._others = others

    def videos(self) -> list[Path]:
        """Return every video: those of a folder by name, then those of the folders in it.

        Raises:
            DamagedFileError: A link leads out of bounds, or to a folder that contains DATA.
        """
        found = self.paths()
        if self._strays:
            say(f"{_counted(self._strays)} passed over as left behind by a system or an archive")
        if self._outside:
            say(f"{_counted(self._outside)} found through links that lead out of {self.folder}")
        if self._others:
            files = counted(
                self._others.total(),
                "file with another ending was",
                "files with other endings were",
            )
            say(f"{self.folder}: {files} passed over ({by_kind(self._others)})")
        return found

    def paths(self) -> list[Path]:
        """Return what `videos` does, and tell nothing.

        Raises:
            DamagedFileError: As `videos`.
        """
        return list(self._search())

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

    def _search(self) -> Iterator[Path]:
        seen: set[str] = set()
        folders = [str(self.folder)]
        while folders:
            folder = folders.pop()
            real = os.path.realpath(folder)
            if real in seen:  # a link leads to a folder that was searched, perhaps in a circle
                continue
            seen.add(real)
            try:
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                self._leave_out(folder, error)
                continue
            inner = []
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                except OSError as error:  # such as a link to itself
                    self._leave_out(entry.path, error)
                    continue
                if is_folder and self._is_searched(entry):
                    inner.append(entry.path)
                elif not is_folder and self._is_video(entry):
                    yield Path(entry.path)
            folders += reversed(inner)

    def _is_searched(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a folder is to be searched.

        Raises:
            DamagedFileError: It is a link that leads out of bounds.
        """
        if entry.name.startswith("."):
            return False
        if entry.name.lower() in STRAYS:
            self._strays.append(entry.path)
            return False
        if entry.is_symlink():
            self._check_link(entry.path, is_folder=True)
        return True

    def _is_video(self, entry: os.DirEntry[str]) -> bool:
        """Tell whether a file has the name of a video.

        Raises:
            DamagedFileError: It is a link that leads out of bounds.
        """
        if os.path.splitext(entry.name)[1].lower() not in SUFFIXES:
            if entry.is_symlink() and not os.path.exists(entry.path):  # perhaps a class
                self._leave_out(entry.path, FileNotFoundError(2, "leads to nothing that is there"))
            else:
                self._pass_over(entry)
            return False
        if _accompanies(entry):
            self._strays.append(entry.path)
            return False
        if entry.is_symlink():
            self._check_link(entry.path)
        return True

    def _pass_over(self, entry: os.DirEntry[str]) -> None:
        if entry.name.lower() in STRAY_FILES:
            self._strays.append(entry.path)
        elif not entry.name.startswith(".") and not _OWN.fullmatch(entry.name):
            self._others[os.path.splitext(entry.name)[1].lower() or "none"] += 1

    def _check_link(self, path: str, *, is_folder: bool = False) -> None:
        """Check where a link leads, before it is followed.

        Raises:
            DamagedFileError: Out of bounds, or to a folder that contains DATA.
        """
        real = os.path.realpath(path)
        if os.path.commonpath([self._real, real]) == self._real:
            return
        if is_folder and os.path.commonpath([self._real, real]) == real:
            raise DamagedFileError(
                f"leads to {real}, which contains all of DATA",
                where=path,
                hint="delete the link, or give that folder as DATA",
            )
        if self.bounds and not self.bounds.holds(path):
            raise out_of_bounds(path, self.bounds)
        self._outside.append(path)

    def _leave_out(self, path: str, error: OSError) -> None:
        self.broken.append(MediaError(f"cannot be read: {error.strerror}", where=path))


def _accompanies(entry: os.DirEntry[str]) -> bool:
    """Tell whether a file is `._a.mp4`, in which macOS keeps attributes of `a.mp4`."""
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
    """Return the first path, and how many more there are."""
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return f"{paths[0]}{more}:"
