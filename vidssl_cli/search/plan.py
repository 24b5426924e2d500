"""What an index has to do with the videos that it is given: embed, replace, rename, or nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.segments import Segment, contents_of, marks_of, paths_of

_ABSENT = -1, -1
"""Stamp where there is no file."""


class Plan:
    """Compares videos with a gallery."""

    def __init__(
        self,
        gallery: Gallery | None,
        data: Sequence[Video],
        *,
        prune: bool,
        broken: Sequence[MediaError] = (),
    ) -> None:
        """Compare the files of the videos, of which those that are named twice count once.

        Args:
            gallery: Of the index; None if there is none.
            data: With their facts.
            prune: Whether videos leave the gallery whose files are gone.
            broken: Of files that cannot be read, and have replaced others that are in the gallery.
        """
        self._gallery = gallery
        videos = list({video.path: video for video in data}.values())
        stamps = np.array([stamp_of(video.path) for video in videos], np.int64).reshape(-1, 2)
        items = np.full(len(videos), -1, np.int64)
        fresh = np.ones(len(videos), bool)
        self._relabelled: dict[int, Video] = {}
        self.renamed: dict[int, Video] = {}
        """Videos by number whose files are at other paths now."""
        self.gone: set[int] = set()
        """Videos that leave, since their files are gone."""
        if gallery:
            items = gallery.find(videos)
            known = np.flatnonzero(items >= 0)
            same = known[(gallery.stamps[items[known]] == stamps[known]).all(1)]
            marks = marks_of([videos[n] for n in same.tolist()])
            other = same[gallery.marks(items[same]) != marks]
            self._relabelled = {int(items[n]): videos[n] for n in other.tolist()}
            moved = _renamed(gallery, videos, stamps, np.flatnonzero(items < 0))
            self.renamed = {item: videos[number] for item, number in moved.items()}
            fresh[same] = fresh[np.array([*moved.values()], np.int64)] = False
            if prune:
                self.gone = set(_missing(gallery)) - {*self.renamed}
        numbers = np.flatnonzero(fresh).tolist()
        self.new = {videos[n].path: videos[n] for n in numbers}
        """Videos to embed, by path."""
        self.stamps = {videos[n].path: (int(stamps[n, 0]), int(stamps[n, 1])) for n in numbers}
        """Of their files."""
        self._stale = {videos[n].path: int(items[n]) for n in numbers if items[n] >= 0}
        if gallery:
            self._stale.update(_replaced(gallery, [error.where or "" for error in broken]))

    def applied(self, segment: Segment | None) -> Gallery | None:
        """Return the gallery with a segment of what could be embedded; None if it is empty.

        It is the same object if nothing has changed.
        """
        old = self._gallery
        if old is None:
            return Gallery([segment], np.empty(0, np.int64), {}) if segment else None
        leaving = self.gone.union(self._stale.values())
        changed = {**old.changed, **self._relabelled, **self.renamed}
        if segment is None and changed == old.changed and not leaving:
            return old
        updated = Gallery(
            [*old.segments, *([segment] if segment else [])],
            np.union1d(old.removed, np.array([*leaving], np.int64)),
            {item: video for item, video in changed.items() if item not in leaving},
        )
        return updated if len(updated) else None

    def replaced(self, segment: Segment | None) -> int:
        """Return how many videos of the segment were in the gallery with another file."""
        if segment is None or not self._stale:
            return 0
        stale = paths_of([Video(path) for path in self._stale])
        return int((segment.find_paths(stale) >= 0).sum())


def is_there(video: Video) -> bool:
    """Tell whether there is a file of a video, or a packed set of its pictures."""
    return os.path.exists(video.path) or bool(video.packed and os.path.exists(video.packed.path))


def stamp_of(path: str) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a file, -1 where there is none."""
    try:
        status = os.stat(path)
    except OSError:  # gone since the scan, which embedding reports
        return _ABSENT
    return status.st_size, status.st_mtime_ns


def _missing(gallery: Gallery) -> list[int]:
    """Return the numbers of the videos whose files are gone."""
    return [item for item in gallery.items.tolist() if not is_there(gallery.videos[item])]


def _replaced(gallery: Gallery, paths: Sequence[str]) -> dict[str, int]:
    """Return the numbers of the videos, by path, in whose place is another file now."""
    items = gallery.find([Video(path) for path in paths]).tolist()
    found = {path: (item, stamp_of(path)) for path, item in zip(paths, items, strict=True)}
    return {
        path: item
        for path, (item, stamp) in found.items()
        if item >= 0 and stamp != _ABSENT and tuple(gallery.stamps[item].tolist()) != stamp
    }


def _renamed(
    gallery: Gallery,
    videos: Sequence[Video],
    stamps: NDArray[np.int64],
    unknown: NDArray[np.int64],
) -> dict[int, int]:
    """Return by item the number of the video that is its file now, which is not where it was."""
    unknown = np.array([n for n in unknown.tolist() if videos[n].ends_sha256], np.int64)
    contents = contents_of([videos[n] for n in unknown.tolist()])
    items = gallery.find_contents(contents).tolist()
    found: dict[int, int] = {}
    for number, item in zip(unknown.tolist(), items, strict=True):
        if item < 0 or (gallery.stamps[item] != stamps[number]).any():
            continue
        if not os.path.exists(gallery.videos[item].path):
            found[item] = number
    return found
