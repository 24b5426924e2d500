"""Kinetics: clips of YouTube videos, listed in CSV files with or without a label.

The lists have the columns label, youtube_id, time_start, time_end and split. The file of a clip is
called by video and seconds, `0wR5jVB-WPk_000417_000427.mp4`, or by the video alone, and lies in any
folder, because copies differ in that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.lists import SPLITS, misfit
from vidssl_cli.data.table import Table, open_table
from vidssl_cli.data.walk import Walk

_COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split", "is_cc")
_CLIP = re.compile(r"(?P<video>.{11})_\d{6}_\d{6}")


def is_kinetics(table: Table) -> bool:
    """Tell whether the header is that of a list of Kinetics."""
    return {"youtube_id", "time_start", "time_end"} <= {*table.header}


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

    Raises:
        DamagedFileError: A row does not fit the others.
    """
    rows = [row for file in files for row in _rows(open_table(file))]
    found = walk.by_name()
    clips = Counter(video for video, *_ in rows)
    videos: dict[str, Video] = {}
    for video, clip, label, split in rows:
        whole = found.get(video) if clips[video] == 1 else None
        path = found.get(clip) or whole or str(walk.folder / f"{clip}.mp4")
        videos.setdefault(path, Video(path, label, split, video))
    return list(videos.values())


def _rows(table: Table) -> Iterator[tuple[str, str, str | None, str | None]]:
    """Yield the YouTube video, the name of the clip, its label and its split."""
    for line, cells in table.below_header(_COLUMNS):
        try:
            start, end = (int(float(cells[name])) for name in ("time_start", "time_end"))
        except (ValueError, OverflowError):
            problem = f"time_start and time_end are seconds, not {cells['time_start']!r}"
            raise misfit(table.file, line, problem, "correct the line") from None
        split, video = cells.get("split", "").lower(), cells["youtube_id"]
        if not video or split not in {"", *SPLITS}:
            problem = f"no split is called {split!r}" if video else "there is no youtube_id"
            raise misfit(table.file, line, problem, "correct the line")
        clip = f"{video}_{start:06}_{end:06}"
        part = SPLITS[split] if split else _split_of(table.file)
        yield video, clip, cells.get("label") or None, part


def _split_of(file: Path) -> str | None:
    """Return the split that the name of a list ends with."""
    return SPLITS.get(re.split(r"[^a-z]", file.stem.lower())[-1])


def _begins_like_a_list(file: Path) -> bool:
    try:
        with file.open("rb") as text:
            return b"youtube_id" in text.readline(1000).lower()
    except OSError:
        return False
