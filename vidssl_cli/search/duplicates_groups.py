"""Groups of duplicates: one video to keep, and those of which most is in it.

A video that is like a copy of the kept one need not be like the other copies: an hour of
highlights has a little of many. So groups are stars and no chains, and footage that is less than
`MOST` of a video, such as an intro, joins nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from vidssl_cli.search.duplicates_files import has_file
from vidssl_cli.search.duplicates_overlap import Overlap, Part
from vidssl_cli.search.plan import is_there

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.search.gallery import Gallery

MOST = 0.8
"""Share of a video that must be in another, so that it is a copy of it."""


@dataclass(frozen=True)
class Group:
    """A video and its copies."""

    keep: int
    """Number of the best one: the longest; of those as long, one that has a file, then one without
    problems, then that with the most pixels, then that with the most bits a second."""
    copies: Sequence[Overlap]
    """What is in it of each other, which is their ``second``."""


def bits_per_second(video: Video) -> float:
    """Return the size of a file by its duration, 0 if either is unknown."""
    return 8 * (video.bytes or 0) / video.duration if video.duration else 0


def form_groups(
    gallery: Gallery,
    overlaps: Sequence[Overlap],
    copies: Mapping[int, Sequence[int]],
    refused: Callable[[int, int], bool],
) -> tuple[list[Group], list[Overlap]]:
    """Group videos; return what videos share that are not in one group, too.

    Args:
        gallery: Which has them.
        overlaps: What two videos share; each pair once.
        copies: Further videos with the content of one.
        refused: Whether two videos are said to be no duplicates.
    """
    inside: dict[int, dict[int, Overlap]] = {item: {} for item in copies}
    for each in overlaps:
        for one in (each, each.reversed):
            inside.setdefault(one.first, {})
            if _holds(gallery, one):
                inside[one.first][one.second] = one
    group_of: dict[int, int] = {}
    groups = []
    for item in _best_first(gallery, inside):
        if item in group_of:
            continue
        members: list[Overlap] = []
        for other, overlap in sorted(inside[item].items()):
            if other not in group_of and not any(refused(other, m.second) for m in members):
                members.append(overlap)
        everyone = [*_same(gallery, item, copies), *members]
        for member in members:
            everyone += [replace(member, second=copy) for copy in copies.get(member.second, ())]
        if everyone:
            groups.append(Group(item, everyone))
            group_of |= {each.second: item for each in everyone} | {item: item}
    shared = [
        each
        for each in overlaps
        if each.first not in group_of or group_of[each.first] != group_of.get(each.second)
    ]
    return groups, sorted(shared, key=lambda each: -sum(part.seconds for part in each.parts))


def _holds(gallery: Gallery, each: Overlap) -> bool:
    """Tell whether the second is a copy of the first, and none that is better."""
    own, other = each.shares
    videos = gallery.videos
    if other < MOST or (has_file(videos[each.second]) > has_file(videos[each.first])):
        return False
    return own < MOST or _quality(gallery, each.first) > _quality(gallery, each.second)


def _quality(gallery: Gallery, item: int) -> tuple[bool, bool, int, float, int]:
    video = gallery.videos[item]
    pixels = (video.width or 0) * (video.height or 0)
    return has_file(video), not video.problems, pixels, bits_per_second(video), -item


def _best_first(gallery: Gallery, inside: Mapping[int, Mapping[int, Overlap]]) -> list[int]:
    """Return videos, each after those that it is a copy of."""
    above = dict.fromkeys(inside, 0)
    for members in inside.values():
        for member in members:
            above[member] += 1
    rank = {item: tuple(-part for part in _quality(gallery, item)) for item in inside}
    ready = [(rank[item], item) for item, count in above.items() if not count]
    heapify(ready)
    order = []
    while ready:
        _, item = heappop(ready)
        order.append(item)
        for member in inside[item]:
            above[member] -= 1
            if not above[member]:
                heappush(ready, (rank[member], member))
    # Shares that were measured with errors may form a circle.
    return [*order, *sorted(set(inside).difference(order), key=lambda item: rank[item])]


def _same(gallery: Gallery, item: int, copies: Mapping[int, Sequence[int]]) -> list[Overlap]:
    """Return the files with the content of a video as its copies."""
    whole = 0.0, gallery.videos[item].duration or 0.0
    return [
        Overlap(item, copy, "content", (Part(whole, whole),), (1.0, 1.0))
        for copy in copies.get(item, ())
    ]


def look(video: Video) -> str:
    """Describe what a person decides by: length, size of pictures and file, and problems."""
    facts = []
    if video.duration:
        facts.append(f"{video.duration:.1f} s")
    if video.width and video.height:
        facts.append(f"{video.width}x{video.height}")
    if video.bytes:
        facts.append(f"{video.bytes / 1e6:.2f} MB")
    if rate := bits_per_second(video):
        facts.append(f"{rate / 1e6:.2f} Mbit/s")
    facts += video.problems
    if not has_file(video):
        facts.append("packed pictures alone" if is_there(video) else "not there")
    return ", ".join(facts)


def spare_bytes(gallery: Gallery, groups: Sequence[Group]) -> int:
    """Return the bytes of all copies."""
    return sum(gallery.videos[each.second].bytes or 0 for g in groups for each in g.copies)
