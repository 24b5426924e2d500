"""Reads queries of `vidssl retrieve`, and the videos of `vidssl visualize`.

clip.mp4            a video
clip.mp4@12.5-15    a moment of it, in seconds
#12                 an item of the gallery; also the path of one whose file is gone
#12@3-5             a moment of an item
folder, list.jsonl  every video in a folder or manifest
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.scan import open_data, warn_of_problems
from vidssl_cli.media.probe import probe
from vidssl_cli.search.gallery import Gallery

_MOMENT = re.compile(r"(?P<target>.+)@(?P<start>\d+(?:\.\d+)?)-(?P<end>\d+(?:\.\d+)?)")
_DIGITS = 20
"""Most digits of an item; Python refuses to read numbers of thousands of digits."""
_LISTS = {".jsonl", ".csv", ".txt"}


@dataclass(frozen=True)
class Query:
    """A video, or a part of it, to find others for."""

    text: str
    """As the user wrote it."""
    video: Video
    item: int | None = None
    """Its number in the gallery, if its features are taken from there."""
    moment: tuple[float, float] | None = None
    """Start and end in seconds; None means the whole video."""


def read_query(
    text: str, gallery: Gallery | None, broken: list[MediaError], root: Path | None = None
) -> list[Query]:
    """Read one query; a folder or a list gives one for each of its videos.

    Args:
        text: As the user wrote it.
        gallery: Of the index; None where a query can only be a file.
        broken: Receives the videos of a folder that cannot be read, after a warning of each.
        root: Folder that the videos of a folder or list must lie in; see `find_videos`.

    Raises:
        MediaError: There is no such video, item or moment.
    """
    match = None if os.path.exists(text) else _MOMENT.fullmatch(text)
    target, moment = text, None
    if match:
        target, moment = match["target"], (float(match["start"]), float(match["end"]))
    if not _is_collection(target):
        item, video = _find(target, gallery)
        return [Query(text, video, item, moment and _within(moment, video, text))]
    if moment:
        raise MediaError("a moment is of one video, not of a folder or list", where=text)
    try:
        videos, unreadable = open_data(target, root=root)
    except UsageError as error:
        raise MediaError(str(error), where=text) from None
    broken.extend(unreadable)
    return [Query(video.path, video) for video in videos]


def _is_collection(target: str) -> bool:
    listed = os.path.splitext(target)[1].lower() in _LISTS and os.path.isfile(target)
    return listed or os.path.isdir(target)


def _find(target: str, gallery: Gallery | None) -> tuple[int | None, Video]:
    """Return the video that a query names, and its number if it is meant as an item."""
    if gallery and re.fullmatch(r"#\d+", target) and not os.path.exists(target):
        last = len(gallery.videos) - 1
        item = int(target[1:]) if len(target) <= _DIGITS else last + 1
        if item > last:
            raise MediaError(f"the gallery's items are #0 to #{last}", where=target)
        if item in gallery.removed:
            raise MediaError("this item was removed from the index", where=target)
        return item, gallery.videos[item]
    if "://" in target:
        raise MediaError("is a URL; download the file and give its path", where=target)
    path = os.path.abspath(target)
    same = gallery.item(path) if gallery else None
    known = None if gallery is None or same is None else gallery.videos[same]
    if os.path.exists(target):
        video = probe(path)
        warn_of_problems(video)
        return None, replace(video, label=None if known is None else known.label)
    if known:
        return same, known
    elsewhere = ", and the gallery has no such item" if gallery else ""
    raise MediaError(f"there is no such file{elsewhere}", where=target)


def _within(moment: tuple[float, float], video: Video, text: str) -> tuple[float, float]:
    """Return a moment, cut at the end of the video."""
    start, end = moment
    if end <= start:
        place = "before" if end < start else "where"
        raise MediaError(f"the moment ends at {end:g} s, {place} it starts", where=text)
    if video.duration is not None and start >= video.duration:
        raise MediaError(f"the video ends at {video.duration:.2f} s", where=text)
    return start, min(end, video.duration or end)
