"""Files of scores, by which a curriculum sorts clips; made by `vidssl data scores`.

There is one JSON object per line. The first says how scores were computed, each other one has those
of a video:

    {"settings": {"score": "motion", "frames": 16, …}}
    {"path": "swim/a.mp4", "sha256": …, "bytes": …, "mtime_ns": …, "scores": [0.21, 0.35]}

Scores are those of the clips of T frames that begin at 0, T, 2 T, …; paths are relative to the
file's folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.base.escaping import json_text
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.sealed_folder import check_note, sha256, write_noted
from vidssl_cli.files.untrusted_text import parse_json, read_lines


@dataclass(frozen=True)
class Scored:
    """The scores of one video."""

    path: str
    """Absolute, once read."""
    sha256: str
    """Of the video's own file when it was scored."""
    bytes: int
    """Size of that file."""
    mtime_ns: int
    """When it was changed last, in nanoseconds since 1970."""
    scores: tuple[float, ...]
    """One for each clip."""

    def is_of(self, video: Video) -> bool:
        """Tell whether the video is the file that was scored."""
        if video.packed:
            return video.packed.source_sha256 == self.sha256
        try:
            status = os.stat(video.path)
            if (status.st_size, status.st_mtime_ns) == (self.bytes, self.mtime_ns):
                return True
            return sha256(Path(video.path)) == self.sha256
        except OSError:
            return False


def identify(video: Video) -> Scored:
    """Return the row of a video, without scores.

    Raises:
        OSError: Its file cannot be read.
    """
    if packed := video.packed:
        known = packed.source_sha256, packed.source_bytes, packed.source_mtime_ns
        return Scored(video.path, *known, ())
    status = os.stat(video.path)
    return Scored(video.path, sha256(Path(video.path)), status.st_size, status.st_mtime_ns, ())


def write_scores(path: Path, settings: Mapping[str, Any], rows: Sequence[Scored]) -> None:
    """Write a file of scores and the note of its SHA-256."""
    folder = os.path.abspath(path.parent)
    lines: list[dict[str, Any]] = [{"settings": dict(settings)}]
    for row in rows:
        below = row.path.startswith(os.path.join(folder, ""))
        name = os.path.relpath(row.path, folder) if below else row.path
        lines.append(asdict(row) | {"path": name})
    write_noted(path, "".join(json_text(line) + "\n" for line in lines).encode())


def read_scores(path: Path) -> tuple[dict[str, Any], dict[str, Scored]]:
    """Return how scores were made, and the rows by path.

    Raises:
        UsageError: There is no such file.
        DamagedFileError: It was changed, or is not what `write_scores` writes.
    """
    folder = os.path.abspath(path.parent)
    try:
        check_note(path)
        first, *lines = [parse_json(line) for _, line in read_lines(path)]
        rows = [Scored(**line) for line in lines]
        rows = [
            replace(
                row,
                path=os.path.normpath(os.path.join(folder, row.path)),
                scores=tuple(map(float, row.scores)),
            )
            for row in rows
        ]
        return dict(first["settings"]), {row.path: row for row in rows}
    except FileNotFoundError:
        raise UsageError(
            f"there is no file of scores {path}", where=str(path), hint=_make(path)
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedFileError("is no file of scores", where=str(path), hint=_make(path)) from error


def scores_of(path: Path, videos: Sequence[Video]) -> tuple[int, list[tuple[float, ...]]]:
    """Return T and the scores of every video.

    Raises:
        UsageError: A video has no scores, or has changed since it was scored.
        DamagedFileError: It is not a file of scores.
    """
    settings, rows = read_scores(path)
    for video in videos:
        row = rows.get(video.path)
        if row is None or not row.is_of(video):
            what = "is not in" if row is None else "has changed since it was scored in"
            raise UsageError(f"{video.path} {what} {path}", where=str(path), hint=_make(path))
    return int(settings["frames"]), [rows[video.path].scores for video in videos]


def _make(path: Path) -> str:
    return f"`vidssl data scores DATA --out {path}` makes what is missing"
