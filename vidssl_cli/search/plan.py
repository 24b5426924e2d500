"""What an index has to do with the videos that it is given: embed, replace, rename, or nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.videos import Video
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.segments import CONTENT, MARKS, Segment, keys_of


class Plan:
    """Compares videos with a gallery."""

    def __init__(self, gallery: Gallery | None, data: Sequence[Video]) -> None:
        """Compare the files of the videos, of which those that are named twice count once.

        Args:
            gallery: Of the index; None if there is none.
            data: With their facts.
        """
        self._gallery = gallery
        videos = list({video.path: video for video in data}.values())
        stamps = np.array([stamp_of(video.path) for video in videos], np.int64).reshape(-1, 2)
        keys = keys_of(videos)
        items = np.full(len(videos), -1, np.int64)
        self._relabelled: dict[int, Video] = {}
        self.renamed: dict[int, Video] = {}
        """Videos by number whose files are at other paths now."""
        if gallery:
            items = gallery.find_digests(keys)
            known = np.flatnonzero(items >= 0)
            same = known[(gallery.stamps[items[known]] == stamps[known]).all(1)]
            other = same[gallery.marks(items[same]) != keys[MARKS][same]]
            self._relabelled = {int(items[n]): videos[n] for n in other.tolist()}
            self.renamed = _renamed(gallery, videos, stamps, keys, np.flatnonzero(items < 0))
            moved = {video.path for video in self.renamed.values()}
            settled = np.zeros(len(videos), bool)
            settled[same] = True
            fresh = [n for n in np.flatnonzero(~settled).tolist() if videos[n].path not in moved]
        else:
            fresh = list(range(len(videos)))
        self.new = {videos[n].path: videos[n] for n in fresh}
        """Videos to embed, by path."""
        self.stamps = {videos[n].path: (int(stamps[n, 0]), int(stamps[n, 1])) for n in fresh}
        """Of their files."""
        self._stale = {videos[n].path: int(items[n]) for n in fresh if items[n] >= 0}

    def applied(self, segment: Segment | None) -> Gallery | None:
        """Return the gallery with a segment of what could be embedded; None if it is empty.

        It is the same object if nothing has changed.
        """
        old = self._gallery
        if old is None:
            return Gallery([segment], np.empty(0, np.int64), {}) if segment else None
        changed = {**old.changed, **self._relabelled, **self.renamed}
        stale = np.array([*self._stale.values()], np.int64)
        if segment is None and changed == old.changed and not len(stale):
            return old
        segments = [*old.segments, *([segment] if segment else [])]
        removed = np.union1d(old.removed, stale)
        left = {item: video for item, video in changed.items() if item not in self._stale.values()}
        updated = Gallery(segments, removed, left)
        return updated if len(updated) else None

    def added(self, segment: Segment | None) -> int:
        """Return how many videos of the segment are new."""
        return (len(segment) if segment else 0) - self.replaced(segment)

    def replaced(self, segment: Segment | None) -> int:
        """Return how many videos of the segment were in the gallery with another file."""
        if segment is None or not self._stale:
            return 0
        return int(
            (
                Gallery([segment], np.empty(0, np.int64), {}).find(
                    [Video(path) for path in self._stale]
                )
                >= 0
            ).sum()
        )


def stamp_of(path: str) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a file, -1 where there is none."""
    try:
        status = os.stat(path)
    except OSError:  # gone since the scan, which embedding reports
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _renamed(
    gallery: Gallery,
    videos: Sequence[Video],
    stamps: NDArray[np.int64],
    keys: NDArray[np.uint64],
    unknown: NDArray[np.int64],
) -> dict[int, Video]:
    """Return by number the videos whose file is where an unknown video is, and not where it was."""
    unknown = np.array([n for n in unknown.tolist() if videos[n].ends_sha256], np.int64)
    found: dict[int, Video] = {}
    for number, item in zip(
        unknown.tolist(), gallery.find_content(keys[CONTENT][unknown]).tolist(), strict=True
    ):
        if (
            item >= 0
            and (gallery.stamps[item] == stamps[number]).all()
            and not os.path.exists(gallery.videos[item].path)
        ):
            found[item] = videos[number]
    return found
