"""Kinetics: clips of YouTube videos, listed in CSV files with or without a label.

The lists have the columns label, youtube_id, time_start, time_end and split, of which only
youtube_id is needed. The file of a clip is called by video and seconds,
`0wR5jVB-WPk_000417_000427.mp4`, or by the video alone. It lies in any folder.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import SPLITS, misfit
from vidssl_cli.data.table import Table, open_table
from vidssl_cli.data.walk import Walk

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
_CLIP = re.compile(r"(?P<video>.{11})_\d{6}_\d{6}")
_SECONDS = re.compile(r"(?P<video>.+)_(?P<start>\d+)_(?P<end>\d+)")

Clip = tuple[str, tuple[int, int] | None]
"""A YouTube video, and the seconds of it; None if they are not known."""


def is_kinetics(table: Table) -> bool:
    """Tell whether the header is that of a list of Kinetics."""
    return "youtube_id" in table.header and "path" not in table.header


def recording(stem: str) -> str | None:
    """Return the video that a clip was cut from, by the clip's name."""
    match = _CLIP.fullmatch(stem)
    return match["video"] if match else None


def find_lists(folder: Path) -> list[Path]:
    """Return the lists in a folder: `train.csv`, `kinetics700_val.csv` and the like."""
    named = (file for file in sorted(folder.glob("*.csv")) if _split_of(file))
    return [file for file in named if _begins_like_a_list(file)]


def read_kinetics(files: list[Path], walk: Walk) -> list[Video]:
    """Return the clips that the lists name, whether they exist or not.

    Of what lists say of a clip twice the first counts, which is told on stderr.

    Raises:
        DamagedFileError: A row does not fit the others.
    """
    rows = dict.fromkeys(row for file in files for row in _rows(open_table(file)))
    named = _Files(walk.by_name())
    clips = Counter(video for video, _ in {clip for clip, *_ in rows})
    videos: dict[str, Video] = {}
    other = []
    for clip, label, split in rows:
        path = named.of(clip, only=clips[clip[0]] == 1)
        found = Video(path or str(walk.folder / _name(clip)), label, split, clip[0])
        if videos.setdefault(found.path, found) != found:
            other.append(found.path)
    if other:
        lines = counted(len(other), "row says", "rows say")
        say(f"{lines} another label or split of a clip, such as {other[0]}; the first counts")
    return list(videos.values())


class _Files:
    """The files of clips."""

    def __init__(self, found: Mapping[str, str]) -> None:
        self._found = found
        self._clips: dict[Clip, str] = {}
        self._parts: dict[str, list[str]] = defaultdict(list)
        for stem, path in found.items():
            if match := _SECONDS.fullmatch(stem):
                seconds = int(match["start"]), int(match["end"])
                self._clips.setdefault((match["video"], seconds), path)
                self._parts[match["video"]].append(path)

    def of(self, clip: Clip, *, only: bool) -> str | None:
        """Return the file of a clip; ``only`` says that the lists have no other of its video."""
        if clip in self._clips:
            return self._clips[clip]
        video, seconds = clip
        parts = self._parts[video] if seconds is None else []
        whole = self._found.get(video, parts[0] if len(parts) == 1 else None)
        return whole if only else None


def _name(clip: Clip) -> str:
    video, seconds = clip
    return f"{video}_{seconds[0]:06}_{seconds[1]:06}.mp4" if seconds else f"{video}.mp4"


def _rows(table: Table) -> Iterator[tuple[Clip, str | None, str | None]]:
    """Yield the clip, its label and its split."""
    for line, cells in table.below_header(_COLUMNS):
        start, end = cells.get("time_start"), cells.get("time_end")
        seconds = None
        try:
            if start is not None and end is not None:
                seconds = int(float(start)), int(float(end))
        except (ValueError, OverflowError):
            problem = f"time_start and time_end are seconds, not {start!r}"
            raise misfit(table.file, line, problem, "correct the line") from None
        split, video = cells.get("split", "").lower(), cells["youtube_id"]
        if not video or split not in {"", *SPLITS}:
            problem = f"no split is called {split!r}" if video else "there is no youtube_id"
            raise misfit(table.file, line, problem, "correct the line")
        part = SPLITS[split] if split else _split_of(table.file)
        yield (video, seconds), cells.get("label") or None, part


def _split_of(file: Path) -> str | None:
    """Return the split that the name of a list ends with."""
    return SPLITS.get(re.split(r"[^a-z]", file.stem.lower())[-1])


def _begins_like_a_list(file: Path) -> bool:
    try:
        with file.open("rb") as text:
            return b"youtube_id" in text.readline(1000).lower()
    except OSError:
        return False
