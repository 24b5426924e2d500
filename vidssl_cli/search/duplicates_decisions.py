"""What people said of pairs of videos, and which pairs were compared: the folder `.duplicates`.

    decisions.json  pairs that are no duplicates
    compared        journal of the pairs whose frames were compared, for later runs
    hashes          journal of the files that were read whole, likewise

The first two name videos by their content, so they hold whatever becomes of paths, numbers and
generations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from vidssl_cli.contract.videos import Video
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.journal import Journal
from vidssl_cli.files.locks import locked
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search.duplicates_overlap import Part

FOLDER = ".duplicates"
_DECISIONS, _COMPARED, _HASHES = "decisions.json", "compared", "hashes"
_VERSION = 1
"""Of how frames are compared; what another version found is dropped."""
Pair = tuple[str, str]
"""Two of `content_of`, the smaller first."""


def content_of(video: Video) -> str | None:
    """Return what a file is known by: size, first and last bytes; None if no scan has read it."""
    return f"{video.bytes}-{video.ends_sha256[:32]}" if video.ends_sha256 else None


def pair_of(one: str, other: str) -> Pair:
    """Return two contents as a pair."""
    return min(one, other), max(one, other)


@contextmanager
def deciding(index: Path) -> Iterator[Path]:
    """Hold the folder, of an index, that decisions and results are kept in.

    Raises:
        VidsslError: Another process holds it.
    """
    folder = index / FOLDER
    with locked(folder, "vidssl duplicates"):
        yield folder


def read_decisions(folder: Path) -> set[Pair]:
    """Return the pairs that are no duplicates.

    Raises:
        DamagedFileError: The file has changed since it was written.
    """
    path = folder / _DECISIONS
    if not path.exists():
        return set()
    document = sealed_json.read(path, "restore it from a copy, or delete it and decide again")
    with understood(path):
        return {pair_of(str(one), str(other)) for one, other in document["not"]}


def write_decisions(folder: Path, pairs: set[Pair]) -> None:
    """Replace the pairs that are no duplicates."""
    atomic_write(folder / _DECISIONS, sealed_json.render({"not": sorted(pairs)}))


class Compared(Journal):
    """What was found for pairs of videos, kept for the next run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / _COMPARED, _VERSION)
        with understood(folder / _COMPARED):
            self._known = {
                (one, other): ([Part(*map(_moment, part)) for part in parts], bool(mirrored))
                for (one, other, parts, mirrored), _ in self.records()
            }

    def find(self, one: str | None, other: str | None) -> tuple[list[Part], bool] | None:
        """Return the parts that two contents share, and whether the other is mirrored."""
        return self._known.get((one, other)) if one and other else None

    def add(self, one: str | None, other: str | None, found: tuple[list[Part], bool]) -> None:
        """Keep what two contents share, in this order."""
        if one and other:
            parts, mirrored = found
            rows = [[part.first, part.second] for part in parts]
            self.append([one, other, rows, mirrored])


class Hashes(Journal):
    """The SHA-256 of files, kept for the next run; threads may add to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / _HASHES, _VERSION)
        self._adding = Lock()
        with understood(folder / _HASHES):
            self._known = {
                (str(path), int(size), int(time)): str(digest)
                for (path, size, time, digest), _ in self.records()
            }

    def find(self, file: tuple[str, int, int]) -> str | None:
        """Return the digest of a file by its path, size and time of change."""
        return self._known.get(file)

    def add(self, file: tuple[str, int, int], digest: str) -> None:
        """Keep the digest of a file."""
        with self._adding:
            self.append([*file, digest])


def _moment(pair: list[float]) -> tuple[float, float]:
    start, end = pair
    return float(start), float(end)
