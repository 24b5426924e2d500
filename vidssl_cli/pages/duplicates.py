"""The page of `vidssl duplicates`: groups with pictures of what two videos share, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.wording import counted
from vidssl_cli.pages.gallery import Ranking, Thumbnail, draw
from vidssl_cli.pages.html import write_page
from vidssl_cli.search.duplicates_groups import look, spare_bytes

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Moment, Video
    from vidssl_cli.search.duplicates import Found
    from vidssl_cli.search.duplicates_overlap import Overlap
    from vidssl_cli.search.gallery import Gallery

MOST = 100
"""Pairs that are shown; each takes 40 to 140 kB of the page."""


@dataclass(frozen=True)
class Side:
    """One of two videos."""

    video: Video
    role: str
    picture: Thumbnail

    @property
    def name(self) -> str:
        """The name of the file."""
        return Path(self.video.path).name

    @property
    def look(self) -> str:
        """Length, size of the pictures and of the file."""
        return look(self.video)


@dataclass(frozen=True)
class Row:
    """Two videos that show the same."""

    sides: tuple[Side, Side]
    facts: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A group, or pairs in none."""

    title: str
    rows: Sequence[Row]


def write_duplicates(path: Path, found: Found, gallery: Gallery) -> None:
    """Write the page; of more than `MOST` pairs the first are shown, and that is said."""
    sections = [
        (f"Group {number}", group.copies, ("keep", "copy"))
        for number, group in enumerate(found.groups, 1)
    ]
    sections += [
        ("Shared footage", found.shared, ("", "")),
        ("Similar, but not compared, because a file cannot be read", found.unchecked, ("", "")),
    ]
    left, shown = MOST, []
    for title, pairs, roles in sections:
        rows = [_row(gallery, each, roles) for each in pairs[:left]]
        left -= len(rows)
        if rows:
            shown.append(Section(title, rows))
    total = sum(len(pairs) for _, pairs, _ in sections)
    pictures = draw(
        [
            Ranking(row.sides[0].picture, [row.sides[1].picture])
            for section in shown
            for row in section.rows
        ]
    )
    copies = sum(len(group.copies) for group in found.groups)
    subtitle = (
        f"{counted(len(found.groups), 'group')} of {counted(len(gallery), 'video')} · "
        f"{counted(copies, 'copy', 'copies')} of {spare_bytes(gallery, found.groups) / 1e6:.1f} MB"
    )
    if total > MOST:
        subtitle += f" · the first {MOST} of {total} pairs are shown"
    write_page(
        path, "duplicates.html", title="Duplicates", subtitle=subtitle, sections=shown,
        pictures=pictures.pictures,
    )  # fmt: skip


def _row(gallery: Gallery, each: Overlap, roles: tuple[str, str]) -> Row:
    part = each.parts[0]
    sides = (
        _side(gallery.videos[each.first], roles[0], part.first),
        _side(gallery.videos[each.second], roles[1], part.second),
    )
    facts = [_line(part.first, part.second) for part in each.parts]
    if each.by == "content":
        facts = ["the files have the same content"]
    if each.by == "windows":
        facts = [f"about {facts[0]}"]
    if each.mirrored:
        facts.append("mirrored")
    facts.append(f"{each.shares[0]:.0%} of the first, {each.shares[1]:.0%} of the second")
    return Row(sides, facts)


def _side(video: Video, role: str, moment: Moment) -> Side:
    return Side(video, role, Thumbnail(video, moment))


def _line(first: Moment, second: Moment) -> str:
    spans = [f"{start:.1f}–{end:.1f} s" for start, end in (first, second)]
    return " = ".join(spans)
