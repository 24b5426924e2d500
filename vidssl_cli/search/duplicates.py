"""`vidssl duplicates`: finds videos of an index that show the same footage, and where.

Files with the same content are found by their bytes (`vidssl_cli.search.duplicates_files`). For the
others clips that are similar propose pairs of videos (`vidssl_cli.search.duplicates_buckets`),
whose frames are then compared (`vidssl_cli.search.duplicates_overlap`).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import leave_out, say, track, warn
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.search.duplicates_buckets import Clips, similar_clips
from vidssl_cli.search.duplicates_decisions import (
    FOLDER,
    Compared,
    Hashes,
    Pair,
    content_of,
    deciding,
    pair_of,
    read_decisions,
    write_decisions,
)
from vidssl_cli.search.duplicates_files import Files
from vidssl_cli.search.duplicates_groups import MOST, Group, form_groups
from vidssl_cli.search.duplicates_overlap import (
    By,
    Frames,
    Overlap,
    Part,
    common_parts,
    covered,
    read_frames,
)
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.store import Index

NEIGHBOURS = 32
"""Nearest clips of each that propose pairs."""
_AT_ONCE = 64
"""Pairs whose frames are read at once."""
_HELD = 1 << 28
"""Bytes of frames that are held: 36 hours of video."""
_NEAR = 0.5
"""Seconds that a common part may reach beyond what is ignored; about the error of its ends."""


@dataclass(frozen=True)
class Found:
    """What `find_duplicates` found."""

    groups: Sequence[Group]
    shared: Sequence[Overlap]
    """Videos of different groups, or of none, that have some footage in common."""
    unchecked: Sequence[Overlap]
    """Similar videos of which one cannot be read."""
    compared: int
    """Pairs whose frames were compared, by this run or an earlier one."""
    broken: Sequence[MediaError]
    links: Sequence[tuple[int, int]]
    """Videos that are further names of a file, links, each with the one that stands for it."""


@dataclass(frozen=True)
class _Candidate:
    """Two videos with similar clips."""

    first: int
    second: int
    windows: tuple[NDArray[np.float32], NDArray[np.float32]]
    """(n, 2) and (n, 2) spans of the similar clips in seconds."""
    score: float | None


def find_duplicates(
    index: Index, *, similarity: float = 0.8, intros: float = 0, outros: float = 0
) -> Found:
    """Find videos of an index that show the same footage.

    Args:
        index: Where to look.
        similarity: Cosine of clips from which the frames of two videos are compared.
        intros: What two videos share only in so many seconds at their beginnings does not count.
        outros: Likewise at their ends.
    """
    gallery, folder = index.gallery, index.folder.parent
    with ExitStack() as held:
        known, hashes = None, None
        if os.access(folder, os.W_OK):
            place = held.enter_context(deciding(folder))
            known = held.enter_context(Compared(place))
            hashes = held.enter_context(Hashes(place))
        else:
            say(f"{folder} cannot be written, so the next run compares all frames again")
        refused = read_decisions(folder / FOLDER)
        files = Files(gallery, hashes)
        if files.links:
            names = counted(len(files.links), "video is a link", "videos are links")
            say(f"{names} to the file of another one; links are no copies")
        others = [item for each in files.copies.values() for item in each]
        kept = np.setdiff1d(gallery.items, [*others, *(link for link, _ in files.links)])
        asked: set[tuple[int, int]] = set()
        candidates, crowded = _candidates(index, kept, similarity)
        if crowded:
            warn(
                f"{crowded} clips have more than {NEIGHBOURS} similar ones, of which the nearest "
                "were taken; a larger --similarity leaves fewer"
            )
        comparison = _Comparison(gallery, files, known)
        overlaps: list[Overlap] = []
        ignored = _Ignored(intros, outros)
        while candidates:
            wanted = [c for c in candidates if not _refused(gallery, c.first, c.second, refused)]
            compared = track(comparison.compare(wanted), "comparing frames", len(wanted))
            new = [ignored.applied(gallery, each) for each in compared]
            overlaps += [each for each in new if each.parts]
            asked.update((each.first, each.second) for each in candidates)
            candidates = _implied(overlaps, asked)
    checked = [each for each in overlaps if each.by == "frames"]
    groups, shared = form_groups(
        gallery, checked, files.copies, lambda a, b: _refused(gallery, a, b, refused)
    )
    unchecked = sorted((o for o in overlaps if o.by == "windows"), key=lambda o: -(o.score or 0))
    return Found(groups, shared, unchecked, comparison.compared, comparison.broken, files.links)


def decide(index: Index, one: str, other: str, *, duplicates: bool) -> int:
    """Note that two videos are no duplicates, or take that back; return how many notes there are.

    Args:
        index: Whose videos they are.
        one: Path, or ``#item``.
        other: Likewise.
        duplicates: Whether they may be duplicates again.

    Raises:
        UsageError: The index has no such video, or does not know its content, or both have one.
    """
    first, second = _named(index.gallery, one), _named(index.gallery, other)
    if first == second:
        raise UsageError(f"{one} and {other} are one video", hint="name two")
    contents = _content(index.gallery, first), _content(index.gallery, second)
    if len(set(contents)) == 1:
        raise UsageError(
            f"{one} and {other} have the same size, first and last bytes",
            hint="only videos of different content can be told to be no duplicates",
        )
    pair = pair_of(*contents)
    with deciding(index.folder.parent) as folder:
        known = read_decisions(folder)
        if duplicates and pair not in known:
            raise UsageError("nobody said that these two are no duplicates")
        known = known - {pair} if duplicates else known | {pair}
        write_decisions(folder, known)
    return len(known)


def _named(gallery: Gallery, text: str) -> int:
    """Return the number of a video that a user names."""
    if text.startswith("#") and text[1:].isdecimal() and len(text) < 20:
        item = int(text[1:])
        there = item < len(gallery.videos) and item not in gallery.removed
    else:
        found = gallery.item(os.path.abspath(text))
        item, there = found or 0, found is not None
    if not there:
        raise UsageError(
            f"the index has no video {text}", hint="give its path, or '#' and a number"
        )
    return item


def _content(gallery: Gallery, item: int) -> str:
    video = gallery.videos[item]
    if (content := content_of(video)) is None:
        raise UsageError(
            f"the index does not know the content of {video.path}, which no scan has read",
            hint="scan the videos (`vidssl data scan`) and index them with --overwrite",
        )
    return content


def _refused(gallery: Gallery, one: int, other: int, pairs: set[Pair]) -> bool:
    """Tell whether two videos are said to be no duplicates."""
    if not pairs:
        return False
    contents = content_of(gallery.videos[one]), content_of(gallery.videos[other])
    return bool(contents[0] and contents[1]) and pair_of(*map(str, contents)) in pairs


def _candidates(
    index: Index, items: NDArray[np.int64], similarity: float
) -> tuple[list[_Candidate], int]:
    """Return pairs of these videos that have similar clips, and how many clips have too many."""
    gallery = index.gallery
    counts = np.concatenate([np.diff(segment.ends, prepend=0) for segment in gallery.segments])
    chosen = np.zeros(len(counts), bool)
    chosen[items] = True
    entries = np.flatnonzero(np.repeat(chosen, counts))
    owners = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[entries]
    clips = Clips(
        gallery.features["clip"], index.scaling["clip"], index.inverse["clip"], entries, owners
    )
    pairs = similar_clips(clips, similarity, NEIGHBOURS)
    first, second = owners[pairs.first], owners[pairs.second]
    order = np.lexsort((second, first))
    bounds = np.flatnonzero(np.diff(first[order]) | np.diff(second[order])) + 1
    groups = np.split(order, bounds) if len(order) else []
    return [
        _Candidate(
            int(first[rows[0]]),
            int(second[rows[0]]),
            (
                gallery.spans[entries[pairs.first[rows]]],
                gallery.spans[entries[pairs.second[rows]]],
            ),
            round(float(pairs.cosine[rows].max()), 6),
        )
        for rows in groups
    ], pairs.crowded


def _implied(overlaps: Sequence[Overlap], asked: Container[tuple[int, int]]) -> list[_Candidate]:
    """Return pairs of which each has most of itself in, or of, a third video; but those asked."""
    copies: dict[int, set[int]] = {}
    for each in overlaps:
        if each.by == "frames" and max(each.shares) >= MOST:
            copies.setdefault(each.first, set()).add(each.second)
            copies.setdefault(each.second, set()).add(each.first)
    pairs = {pair for others in copies.values() for pair in combinations(sorted(others), 2)}
    none = np.empty((0, 2), np.float32)
    return [_Candidate(*pair, (none, none), None) for pair in sorted(pairs) if pair not in asked]


class _Comparison:
    """Compares the frames of pairs of videos."""

    def __init__(self, gallery: Gallery, files: Files, known: Compared | None) -> None:
        self._gallery = gallery
        self._files = files
        self._known = known
        self._held: OrderedDict[int, Frames | None] = OrderedDict()
        self.compared = 0
        self.broken: list[MediaError] = []

    def compare(self, candidates: Iterable[_Candidate]) -> Iterator[Overlap]:
        """Yield what each two videos share, or where their similar clips are."""
        remaining = iter(candidates)
        with ThreadPoolExecutor(usable_cores(), "frames") as pool:
            while some := list(islice(remaining, _AT_ONCE)):
                known = {id(each): self._find(each) for each in some}
                new = [each for each in some if known[id(each)] is None]
                self._fetch(pool, dict.fromkeys(i for e in new for i in (e.first, e.second)))
                for each in some:
                    yield self._overlap(each, known[id(each)] or self._compared(each))

    def _find(self, each: _Candidate) -> tuple[list[Part], bool] | None:
        if not self._known or any(map(self._files.problem, (each.first, each.second))):
            return None
        return self._known.find(*self._contents(each))

    def _contents(self, each: _Candidate) -> tuple[str | None, str | None]:
        return self._files.content(each.first), self._files.content(each.second)

    def _compared(self, each: _Candidate) -> tuple[list[Part], bool] | None:
        """Return what two videos share; None if one cannot be read."""
        first, second = self._held[each.first], self._held[each.second]
        if first is None or second is None:
            return None
        found = common_parts(first, second)
        if self._known:
            self._known.add(*self._contents(each), found)
        return found

    def _overlap(self, each: _Candidate, found: tuple[list[Part], bool] | None) -> Overlap:
        one, other = self._gallery.videos[each.first], self._gallery.videos[each.second]
        if found is None:
            return _overlap(each, one, other, "windows", [_coarse(*each.windows)], False)
        self.compared += 1
        return _overlap(each, one, other, "frames", *found)

    def _fetch(self, pool: ThreadPoolExecutor, items: Iterable[int]) -> None:
        """Hold the frames of videos, and those of others as long as there is room."""
        items = list(items)
        missing = [item for item in items if item not in self._held]
        for item, frames in zip(missing, pool.map(self._read, missing), strict=True):
            if isinstance(frames, MediaError):
                leave_out(frames, self.broken)
            self._held[item] = frames if isinstance(frames, Frames) else None
        for item in items:
            self._held.move_to_end(item)
        size = sum(frames.grey.nbytes for frames in self._held.values() if frames)
        for item in list(self._held)[: len(self._held) - len(items)]:
            if size <= _HELD:
                return
            # What cannot be read stays: it is named once.
            if held := self._held[item]:
                size -= held.grey.nbytes
                del self._held[item]

    def _read(self, item: int) -> Frames | MediaError:
        if problem := self._files.problem(item):
            return problem
        try:
            return read_frames(self._gallery.videos[item])
        except MediaError as error:
            return error


def _overlap(
    each: _Candidate, one: Video, other: Video, by: By, parts: list[Part], mirrored: bool
) -> Overlap:
    shares = (
        _share([part.first for part in parts], one),
        _share([part.second for part in parts], other),
    )
    return Overlap(each.first, each.second, by, tuple(parts), shares, mirrored, each.score)


def _share(moments: list[Moment], video: Video) -> float:
    longest = max((end for _, end in moments), default=0.0)
    return round(min(1.0, covered(moments) / (video.duration or longest or 1)), 4)


def _coarse(one: NDArray[np.float32], other: NDArray[np.float32]) -> Part:
    """Return where similar clips say that two videos are the same: most are at one distance."""
    distances = other.mean(1) - one.mean(1)
    tolerance = np.ptp(one, 1).max() / 2
    votes = np.abs(distances[:, None] - distances) <= tolerance
    agree = votes[votes.sum(1).argmax()]
    return Part(*((float(s[agree, 0].min()), float(s[agree, 1].max())) for s in (one, other)))


@dataclass(frozen=True)
class _Ignored:
    """Seconds at the beginnings and ends of videos that do not count."""

    intros: float
    outros: float

    def applied(self, gallery: Gallery, each: Overlap) -> Overlap:
        """Leave out the parts that lie in them in both videos."""
        if not (self.intros or self.outros):
            return each
        videos = gallery.videos[each.first], gallery.videos[each.second]
        lengths = [video.duration or np.inf for video in videos]
        parts = [p for p in each.parts if not self._covers([p.first, p.second], lengths)]
        if len(parts) == len(each.parts):
            return each
        shares = (
            _share([part.first for part in parts], videos[0]),
            _share([part.second for part in parts], videos[1]),
        )
        return replace(each, parts=tuple(parts), shares=shares)

    def _covers(self, moments: list[Moment], lengths: list[float]) -> bool:
        intro = all(
            end <= self.intros + _NEAR and length > self.intros + _NEAR
            for (_, end), length in zip(moments, lengths, strict=True)
        )
        outro = all(
            start >= length - self.outros - _NEAR and length > self.outros + _NEAR
            for (start, _), length in zip(moments, lengths, strict=True)
        )
        return bool((self.intros and intro) or (self.outros and outro))
