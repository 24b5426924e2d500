"""`vidssl duplicates`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli.next_command import say_next, search_of
from vidssl_cli.cli.options import AsJson, IndexFolder, OverwritePage, Strict, refuse_page

if TYPE_CHECKING:
    from vidssl_cli.search.duplicates import Found
    from vidssl_cli.search.duplicates_overlap import Overlap
    from vidssl_cli.search.gallery import Gallery

_SHOWN = 20
"""Pairs that are printed of those that are in no group."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(duplicates)


def duplicates(
    folder: IndexFolder,
    similarity: Annotated[
        float,
        typer.Option(
            min=0.1, max=1, help="Cosine of clips from which the frames of two videos are compared."
        ),
    ] = 0.8,
    intros: Annotated[
        float,
        typer.Option(
            "--ignore-intros",
            min=0,
            metavar="SECONDS",
            help="What two videos share only within so many seconds of their beginnings does not "
            "count.",
        ),
    ] = 0,
    outros: Annotated[
        float,
        typer.Option("--ignore-outros", min=0, metavar="SECONDS", help="Likewise of their ends."),
    ] = 0,
    refused: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--not",
            metavar="A B",
            help="Note that two videos (paths or '#item') are no duplicates, and end.",
        ),
    ] = None,
    again: Annotated[
        tuple[str, str] | None,
        typer.Option("--undo-not", metavar="A B", help="Take --not back, and end."),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.html", help="Write a page that shows what was found."),
    ] = None,
    overwrite: OverwritePage = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Find videos of an index that show the same footage, and where.

    Nothing is deleted.
    """
    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.base.errors import SkippedMediaError, UsageError
    from vidssl_cli.search.duplicates import decide, find_duplicates
    from vidssl_cli.search.store import open_index

    if page:
        refuse_page(page, overwrite)
    if refused and again:
        raise UsageError("--not and --undo-not are given", hint="leave one of them out")
    if page and (refused or again):
        raise UsageError("--not and --undo-not write no page", where="--out", hint="leave it out")
    index = open_index(folder)
    if pair := refused or again:
        count = decide(index, *pair, duplicates=bool(again))
        if as_json:
            emit_json({"index": str(folder), "not": count})
        else:
            emit(f"{counted(count, 'pair')} of {folder} noted as no duplicates")
        return
    found = find_duplicates(index, similarity=similarity, intros=intros, outros=outros)
    if page:
        from vidssl_cli.pages.duplicates import write_duplicates

        write_duplicates(page, found, index.gallery)
        say(f"page: {page}")
    if as_json:
        emit_json(_document(folder, found, index.gallery))
    else:
        _show(found, index.gallery)
    SkippedMediaError.raise_if(strict, len(found.broken))
    say_next(as_json, *search_of(folder))


def _document(folder: Path, found: Found, gallery: Gallery) -> dict[str, Any]:
    return {
        "index": str(folder),
        "videos": len(gallery),
        "compared": found.compared,
        "groups": [
            {
                "keep": _facts(gallery, group.keep),
                "copies": [
                    _facts(gallery, each.second) | _evidence(each, "keep", "copy")
                    for each in group.copies
                ],
            }
            for group in found.groups
        ],
        "shared": [_pair(gallery, each) for each in found.shared],
        "unchecked": [_pair(gallery, each) for each in found.unchecked],
        "links": [
            {"path": gallery.videos[link].path, "of": gallery.videos[other].path}
            for link, other in found.links
        ],
        "broken": [error.row for error in found.broken],
    }


def _pair(gallery: Gallery, each: Overlap) -> dict[str, Any]:
    return {
        "first": _facts(gallery, each.first),
        "second": _facts(gallery, each.second),
        **_evidence(each, "first", "second"),
    }


def _facts(gallery: Gallery, item: int) -> dict[str, Any]:
    from vidssl_cli.search.plan import is_there

    video = gallery.videos[item]
    return {
        "item": item,
        "path": video.path,
        "there": is_there(video),
        "duration": video.duration,
        "width": video.width,
        "height": video.height,
        "bytes": video.bytes,
        "problems": list(video.problems),
    }


def _evidence(each: Overlap, one: str, other: str) -> dict[str, Any]:
    return {
        "by": each.by,
        "parts": [{one: _seconds(part.first), other: _seconds(part.second)} for part in each.parts],
        "shares": {one: each.shares[0], other: each.shares[1]},
        "mirrored": each.mirrored,
        "score": each.score,
    }


def _seconds(moment: tuple[float, float]) -> list[float]:
    return [round(second, 3) for second in moment]


def _show(found: Found, gallery: Gallery) -> None:
    """Print groups, then pairs; a path has a line of its own, so that it is never cut."""
    from vidssl_cli.base.console import emit
    from vidssl_cli.search.duplicates_groups import spare_bytes

    for number, group in enumerate(found.groups, 1):
        emit(f"group {number}")
        emit(f"  keep  {gallery.videos[group.keep].path}")
        emit(f"        {_look(gallery, group.keep)}")
        for each in group.copies:
            emit(f"  copy  {gallery.videos[each.second].path}")
            emit(f"        {_look(gallery, each.second)}")
            _show_parts(each)
    for title, pairs in (
        ("shared footage", found.shared),
        ("similar, but not compared, because a file cannot be read", found.unchecked),
    ):
        for number, each in enumerate(pairs[:_SHOWN]):
            if not number:
                emit(title)
            emit(f"  {gallery.videos[each.first].path}")
            emit(f"  {gallery.videos[each.second].path}")
            _show_parts(each)
        if len(pairs) > _SHOWN:
            emit(f"  and {len(pairs) - _SHOWN} more pairs: see --json")
    copies = sum(len(group.copies) for group in found.groups)
    size = spare_bytes(gallery, found.groups) / 1e6
    emit(
        f"{counted(len(found.groups), 'group')} of {counted(len(gallery), 'video')}; "
        f"{counted(copies, 'copy', 'copies')} of {size:.1f} MB; "
        f"{counted(len(found.shared), 'other pair')} with shared footage"
    )


def _show_parts(each: Overlap) -> None:
    from vidssl_cli.base.console import emit

    what = {"content": "same content", "windows": "about "}.get(each.by, "")
    if each.by == "content":
        emit(f"        {what}")
        return
    for part in each.parts:
        spans = (f"{start:.1f}-{end:.1f} s" for start, end in (part.first, part.second))
        first, second = spans
        emit(f"        {what}{second} is {first} of the first{', mirrored' * each.mirrored}")


def _look(gallery: Gallery, item: int) -> str:
    from vidssl_cli.search.duplicates_groups import look

    return look(gallery.videos[item])
