"""The gallery of an index: the videos of all its segments, by their numbers.

A number stands for the same video until the index is compacted; those of removed videos stay free.

Letters: N videos, M clips, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import overload

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.videos import Video
from vidssl_cli.search.columns import Column
from vidssl_cli.search.levels import LEVELS, LevelName
from vidssl_cli.search.segments import MARKS, PATH, Segment, find_paths, marks_of, paths_of
from vidssl_cli.search.statistics import Statistics


class Gallery:
    """Videos (N) and the features of their clips (M), removed ones among them."""

    def __init__(
        self,
        segments: Sequence[Segment],
        removed: NDArray[np.int64],
        changed: Mapping[int, Video],
    ) -> None:
        """Put segments, of which there is at least one, one after another.

        Args:
            segments: What was embedded.
            removed: Numbers of the videos that are no longer in the gallery, ascending.
            changed: Rows that replace those of the segments, by number.
        """
        self.segments, self.removed, self.changed = segments, removed, changed
        self.stamps = Column([segment.stamps for segment in segments])
        self.spans = Column([segment.spans for segment in segments])
        self.features = {
            level: Column([segment.features[level] for segment in segments]) for level in LEVELS
        }
        self.videos = Videos(self)

    def __len__(self) -> int:
        """Return how many videos it has, without removed ones."""
        return len(self.stamps) - len(self.removed)

    @cached_property
    def items(self) -> NDArray[np.int64]:
        """Numbers of the videos, without removed ones."""
        return np.delete(np.arange(len(self.stamps)), self.removed)

    @property
    def clips(self) -> int:
        """How many clips its videos have, without removed ones."""
        return len(self.spans) - len(self.removed_entries("clip"))

    @property
    def one_clip_each(self) -> bool:
        """Whether videos and clips are the same."""
        return all(segment.clips == len(segment) for segment in self.segments)

    def part(self, item: int) -> slice:
        """Return which of the M clips are of one video."""
        number, row = self.stamps.place(item)
        before, part = int(self.spans.starts[number]), self.segments[number].part(row)
        return slice(before + part.start, before + part.stop)

    def owner(self, clip: int) -> int:
        """Return the video that one of the M clips is of."""
        number, row = self.spans.place(clip)
        owner = np.searchsorted(self.segments[number].ends, row, side="right")
        return int(self.stamps.starts[number] + owner)

    def removed_entries(self, level: LevelName) -> NDArray[np.int64]:
        """Return the removed videos or their clips, ascending."""
        if level == "video":
            return self.removed
        parts = [self.part(item) for item in self.removed.tolist()]
        return np.array([*chain(*(range(p.start, p.stop) for p in parts))], np.int64)

    def entries_but(self, level: LevelName, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the entries of a level that are not of these videos, ascending."""
        others = np.ones(len(self.stamps), bool)
        others[items] = False
        if level == "clip":
            clips = [np.diff(segment.ends, prepend=0) for segment in self.segments]
            others = np.repeat(others, np.concatenate(clips))
        return np.flatnonzero(others)

    def statistics(self, level: LevelName) -> Statistics:
        """Return those of the features of a level, without removed ones."""
        whole = Statistics.joined(segment.statistics[level] for segment in self.segments)
        if removed := self.removed_entries(level).tolist():
            whole = whole.without(Statistics.of(self.features[level][removed]))
        return whole

    def item(self, path: str) -> int | None:
        """Return the number of the video with a path, if there is one."""
        (item,) = self.find([Video(path)]).tolist()
        return item if item >= 0 else None

    def find(self, videos: Sequence[Video]) -> NDArray[np.int64]:
        """Return the numbers of the videos (n,) with these paths, -1 where there is none."""
        return self.find_paths(paths_of(videos))

    def find_paths(self, paths: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Do as `find` for `paths_of` videos (2, n)."""
        if not self.changed:
            return self._found(lambda segment: segment.find_paths(paths), self.removed)
        stale = np.union1d(self.removed, np.array([*self.changed], np.int64))
        found = self._found(lambda segment: segment.find_paths(paths), stale)
        changed = np.setdiff1d(stale, self.removed)
        if len(changed):
            others = paths_of([self.changed[item] for item in changed.tolist()])
            rows = find_paths(others, np.argsort(others[PATH]), paths)
            found = np.where(rows >= 0, changed[rows], found)
        return found

    def find_contents(self, contents: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the numbers of videos with these of `contents_of` (n,), or -1."""
        return self._found(lambda segment: segment.find_contents(contents), self.removed)

    def _found(
        self, find: Callable[[Segment], NDArray[np.int64]], but: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the numbers (n,) of what is found in the last segment that has it, or -1.

        Args:
            find: Returns rows of a segment, or -1.
            but: Numbers that are not meant, ascending.
        """
        found: NDArray[np.int64] = np.array(-1)
        for segment, start in zip(self.segments, self.stamps.starts.tolist(), strict=True):
            rows = find(segment)
            items = rows + start
            fresh = (rows >= 0) & ~_among(items, but)
            found = np.where(fresh, items, found)
        return found

    def marks(self, items: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return the digests of label, split and group of videos (n,)."""
        keys = Column([segment.keys[MARKS] for segment in self.segments])
        marks = keys[items]
        for item in set(self.changed).intersection(items.tolist()) if self.changed else ():
            marks[items == item] = marks_of([self.changed[item]])
        return marks


def _among(numbers: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which numbers are among others, in no time if these are many and those few."""
    if not len(ascending):
        return np.zeros(len(numbers), bool)
    places = np.searchsorted(ascending, numbers)
    among: NDArray[np.bool_] = ascending[np.minimum(places, len(ascending) - 1)] == numbers
    return among


class Videos(Sequence[Video]):
    """The videos of a gallery by number; each is parsed when it is asked for."""

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery

    def __len__(self) -> int:
        return len(self._gallery.stamps)

    @overload
    def __getitem__(self, item: int) -> Video: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Video]: ...
    def __getitem__(self, item: int | slice) -> Video | Sequence[Video]:
        """Return a video, removed or not."""
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        if changed := self._gallery.changed.get(item):
            return changed
        number, row = self._gallery.stamps.place(item)
        return self._gallery.segments[number].video(row)

    def __iter__(self) -> Iterator[Video]:
        return (self[item] for item in range(len(self)))
