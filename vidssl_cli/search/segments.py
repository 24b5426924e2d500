"""Segments of an index: some videos and the features of their clips, written once and sealed.

    gallery.jsonl  the videos (N); itself a manifest
    lines.npy      (N + 1,) the byte at which each row of it begins
    keys.npy       (4, N) digests: two of the path, one of the content, one of label and split
    by_path.npy    (N,) the videos in the order of the first digest
    by_content.npy (N,) in the order of the third
    stamps.npy     (N, 2) size and time of change of each file
    ends.npy       (N,) clips of this video and those before it
    clip.npy       (M, D) features of all clips, as the network gave them
    video.npy      (N, D) their means over each video; absent where every video has one clip
    spans.npy      (M, 2) start and end of each clip in seconds
    statistics.npy (2, 3, D) mean, sum of squared deviations and largest size of videos and clips
    facts.sqlite   the videos as columns, for filters

Letters: N videos, M clips, D features.
"""

from __future__ import annotations

import hashlib
import mmap
import sqlite3
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import row_reader
from vidssl_cli.files.sealed_folder import listed, publish
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.files.verified import note_whole
from vidssl_cli.search.columns import BLOCK, Column, ColumnWriter
from vidssl_cli.search.facts import FACTS, FactsWriter, open_facts
from vidssl_cli.search.levels import LEVELS, LevelName
from vidssl_cli.search.statistics import Statistics

ROWS = "gallery.jsonl"
ARRAYS = ("lines", "keys", "by_path", "by_content", "stamps", "ends", "clip", "spans", "statistics")
FILES = (ROWS, FACTS, *(f"{name}.npy" for name in ARRAYS))
"""What every segment has."""

PATH, PATH_CHECK, CONTENT, MARKS = range(4)
"""Rows of `Segment.keys`."""


@dataclass(frozen=True)
class Batch:
    """Some videos on their way into a segment."""

    rows: Sequence[bytes]
    """Lines of a manifest."""
    keys: NDArray[np.uint64]
    """(4, n) as in `Segment`."""
    stamps: NDArray[np.int64]
    """(n, 2)"""
    clips: NDArray[np.int64]
    """(n,) how many each has."""
    features: NDArray[np.float32]
    """(m, D)"""
    spans: NDArray[np.float32]
    """(m, 2)"""


class Segment:
    """Videos and their features; rows are parsed, and checked, when they are asked for."""

    sealed = True
    """Whether it is a folder that generations may share."""

    def __init__(self, folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take the arrays of a segment by name.

        Raises:
            ValueError: They do not belong together.
        """
        self.folder = folder
        self.lines, self.keys = arrays["lines"], arrays["keys"]
        self.by_path, self.by_content = arrays["by_path"], arrays["by_content"]
        self.stamps, self.ends, self.spans = arrays["stamps"], arrays["ends"], arrays["spans"]
        self.features: dict[LevelName, NDArray[np.float32]] = {
            "video": arrays.get("video", arrays["clip"]),
            "clip": arrays["clip"],
        }
        self._statistics = arrays.get("statistics")
        self._refuse_mixture()
        self._read_row = row_reader(folder / ROWS)

    def __len__(self) -> int:
        return len(self.stamps)

    @property
    def clips(self) -> int:
        """M."""
        return len(self.spans)

    def video(self, number: int) -> Video:
        """Return a video.

        Raises:
            DamagedFileError: Its row is not what vidssl wrote.
        """
        with understood(self.folder / ROWS):
            video = self._read_row(self.row(number).decode(errors="surrogateescape"))
            if (keys_of([video])[:, 0] != self.keys[:, number]).any():
                raise ValueError(f"row {number} is not the one that was written")
            return video

    def row(self, number: int) -> bytes:
        """Return the line of a video in the manifest."""
        begin, end = self.lines[number : number + 2].tolist()
        return self._text[begin:end]

    def facts(self) -> sqlite3.Connection:
        """Open the facts of the videos; see `vidssl_cli.search.facts`."""
        return open_facts(self.folder / FACTS)

    @cached_property
    def statistics(self) -> Mapping[LevelName, Statistics]:
        """Mean and deviation of the features of each level."""
        if self._statistics is None:
            blocks = {level: Column([self.features[level]]).blocks() for level in LEVELS}
            return {
                level: Statistics.joined(Statistics.of(rows) for _, rows in blocks[level])
                for level in LEVELS
            }
        return {
            level: Statistics(len(self.features[level]), *each)
            for level, each in zip(LEVELS, self._statistics, strict=True)
        }

    def part(self, number: int) -> slice:
        """Return which of the M clips are of one video."""
        return slice(int(self.ends[number - 1]) if number else 0, int(self.ends[number]))

    def find_paths(self, paths: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the video with each of `paths_of` (2, n), -1 where there is none."""
        return find_paths(self.keys, self.by_path, paths)

    def find_contents(self, contents: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the first video with each of `contents_of` (n,), -1 where there is none."""
        return _find(self.keys[CONTENT], self.by_content, contents)

    def batches(self) -> Iterator[Batch]:
        """Yield all videos, to be written anew."""
        counts = np.diff(self.ends, prepend=0)
        for first in range(0, len(self), BLOCK):
            last = min(first + BLOCK, len(self))
            clips = slice(self.part(first).start, self.part(last - 1).stop)
            yield Batch(
                [self.row(number) for number in range(first, last)],
                self.keys[:, first:last],
                self.stamps[first:last],
                counts[first:last],
                self.features["clip"][clips],
                self.spans[clips],
            )

    @cached_property
    def _text(self) -> mmap.mmap:
        with (self.folder / ROWS).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _refuse_mixture(self) -> None:
        videos, (clips, dimension) = len(self), self.features["clip"].shape
        shapes: dict[str, tuple[NDArray[Any], str, tuple[int, ...]]] = {
            "lines": (self.lines, "i", (videos + 1,)),
            "keys": (self.keys, "u", (4, videos)),
            "by_path": (self.by_path, "i", (videos,)),
            "by_content": (self.by_content, "i", (videos,)),
            "stamps": (self.stamps, "i", (videos, 2)),
            "ends": (self.ends, "i", (videos,)),
            "clip": (self.features["clip"], "f", (clips, dimension)),
            "video": (self.features["video"], "f", (videos, dimension)),
            "spans": (self.spans, "f", (clips, 2)),
        }
        if self._statistics is not None:
            shapes["statistics"] = self._statistics, "f", (len(LEVELS), 3, dimension)
        for name, (array, kind, shape) in shapes.items():
            if array.shape != shape or array.dtype.kind != kind:
                raise ValueError(f"{name}.npy is {array.dtype} {array.shape}, not {kind} {shape}")
        if not videos or self.ends[-1] != clips or (np.diff(self.ends, prepend=0) < 1).any():
            raise ValueError(f"ends.npy does not count {clips} clips")
        for name, numbers in (("spans", self.spans), ("statistics", self._statistics)):
            if numbers is not None and not np.isfinite(numbers).all():
                raise ValueError(f"{name}.npy holds numbers that are not finite")


def keys_of(videos: Sequence[Video]) -> NDArray[np.uint64]:
    """Return digests (4, n) by which videos are found, as a segment has them."""
    return np.stack([*paths_of(videos), contents_of(videos), marks_of(videos)])


def paths_of(videos: Sequence[Video]) -> NDArray[np.uint64]:
    """Return two digests of each path (2, n): one to look up, and one to check."""
    return _digests((video.path for video in videos), 16).reshape(-1, 2).T


def contents_of(videos: Sequence[Video]) -> NDArray[np.uint64]:
    """Return digests (n,) of the files: of their size, and first and last bytes."""
    return _digests((f"{video.bytes} {video.ends_sha256}" for video in videos), 8)


def marks_of(videos: Sequence[Video]) -> NDArray[np.uint64]:
    """Return digests (n,) of label, split and group, which may change while the file does not."""
    marks = [(video.label, video.split, video.group) for video in videos]
    distinct = {mark: number for number, mark in enumerate(dict.fromkeys(marks))}
    digests = _digests((f"{label!r} {split!r} {group!r}" for label, split, group in distinct), 8)
    return digests[[distinct[mark] for mark in marks]]


def _digests(texts: Iterable[str], size: int) -> NDArray[np.uint64]:
    """Return digests of so many bytes, one after another, as numbers of 8 bytes."""
    made = (
        hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=size).digest()
        for text in texts
    )
    return np.frombuffer(b"".join(made), "<u8")


def find_paths(
    keys: NDArray[np.uint64], order: NDArray[np.int64], paths: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the row with each of `paths_of` (2, n) among keys (2 or more, N), or -1.

    Args:
        keys: Digests of which the first two are of the path.
        order: What sorts the first.
        paths: To look for.
    """
    rows = _find(keys[PATH], order, paths[PATH])
    return np.where(keys[PATH_CHECK][rows] == paths[PATH_CHECK], rows, -1)


def _find(
    keys: NDArray[np.uint64], order: NDArray[np.int64], digests: NDArray[np.uint64]
) -> NDArray[np.int64]:
    """Return the first row with each digest (n,) among keys that ``order`` sorts, or -1.

    They are looked for in their order, which is ten times as fast: neighbours are in the cache.
    """
    ascending = np.argsort(digests)
    places = np.empty_like(ascending)
    places[ascending] = np.searchsorted(keys, digests[ascending], sorter=order)
    rows = order[np.minimum(places, len(order) - 1)]
    return np.where(keys[rows] == digests, rows, -1)


def open_segment(folder: Path, files: Container[str]) -> Segment:
    """Map a segment.

    Args:
        folder: The segment.
        files: Those of it that have been verified, all of `FILES` among them.

    Raises:
        DamagedFileError: It is not what `write_segment` writes.
    """
    with understood(folder):
        names = [name for name in (*ARRAYS, "video") if f"{name}.npy" in files]
        # Plain arrays: each access to one of the class `memmap` takes microseconds more.
        mapped = {name: np.asarray(np.load(folder / f"{name}.npy", "r")) for name in names}
        return Segment(folder, mapped)


def write_segment(folder: Path, batches: Iterable[Batch]) -> Segment:
    """Write a segment and map it, whole or not at all, with as little memory as a batch needs.

    Raises:
        NoRoomError: It does not fit.
    """
    publish(folder, lambda draft: _write(draft, batches))
    note_whole(folder)
    return open_segment(folder, listed(folder))


def _write(draft: Path, batches: Iterable[Batch]) -> None:
    writers = {name: ColumnWriter(draft / f"{name}.npy") for name in ("clip", "video", "spans")}
    statistics: dict[str, list[Statistics]] = {level: [] for level in LEVELS}
    lengths, keys, stamps, counts = [np.zeros(1, np.int64)], [], [], []
    with (draft / ROWS).open("wb") as text, closing(FactsWriter(draft / FACTS)) as facts:
        for batch in batches:
            text.write(b"".join(batch.rows))
            facts.add(batch.rows)
            lengths.append(np.array([len(row) for row in batch.rows]))
            keys.append(batch.keys)
            stamps.append(batch.stamps)
            counts.append(batch.clips)
            means = _means(batch)
            for name, rows in (("clip", batch.features), ("video", means), ("spans", batch.spans)):
                writers[name].add(rows)
            for level, rows in (("clip", batch.features), ("video", means)):
                statistics[level].append(Statistics.of(rows))
    for writer in writers.values():
        writer.close()
    if writers["clip"].rows == writers["video"].rows:
        (draft / "video.npy").unlink()
    joined = np.concatenate(keys, 1)
    arrays = {
        "lines": np.concatenate(lengths).cumsum(),
        "keys": joined,
        "by_path": np.argsort(joined[PATH], kind="stable"),
        "by_content": np.argsort(joined[CONTENT], kind="stable"),
        "stamps": np.concatenate(stamps),
        "ends": np.concatenate(counts).cumsum(),
        "statistics": np.stack(
            [Statistics.joined(statistics[level]).stacked() for level in LEVELS]
        ),
    }
    for name, array in arrays.items():
        np.save(draft / f"{name}.npy", array)


def _means(batch: Batch) -> NDArray[np.float32]:
    """Return the mean over the clips of each video (n, D)."""
    if len(batch.clips) == len(batch.features):
        return batch.features
    starts = np.cumsum(batch.clips) - batch.clips
    sums = np.add.reduceat(batch.features, starts, dtype=np.float64)
    means: NDArray[np.float32] = (sums / batch.clips[:, None]).astype(np.float32)
    return means
