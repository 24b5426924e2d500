"""Answers the searches of the page, as JSON documents."""

from __future__ import annotations

import os
import shlex
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from vidssl_cli.base.errors import MediaError
from vidssl_cli.base.escaping import visible
from vidssl_cli.pages.serve.asked import UPLOAD, Asked
from vidssl_cli.pages.serve.copies import Copies, rows, summary
from vidssl_cli.search.plan import is_there
from vidssl_cli.search.queries import Query
from vidssl_cli.search.retrieve import answer
from vidssl_cli.search.where import matching

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Moment, Video
    from vidssl_cli.pages.serve.live_index import LiveIndex, WarmIndex
    from vidssl_cli.pages.serve.uploads import Uploads
    from vidssl_cli.search.retrieve import Answer

_TOPS = (48, 240, 2000)
"""Hits that are searched for: at first, and as the reader asks for more."""
_REMEMBERED = 32
"""Searches whose hits are kept."""


@dataclass(frozen=True)
class Found:
    """A video that the page may show: of the index, or dropped into it."""

    key: str
    """By which the page asks for it."""
    name: str
    video: Video
    item: int | None
    """Its number in the index; None for a dropped one."""


class Search:
    """Searches an index for the page."""

    def __init__(self, live: LiveIndex, uploads: Uploads, device: str) -> None:
        """Search the newest generation of an index on a device."""
        self._live, self._uploads, self._device = live, uploads, device
        self._copies = Copies(live)
        self._answers: OrderedDict[object, tuple[Answer | None, int]] = OrderedDict()

    def find(self, asked: Asked) -> Found:
        """Return the video that is asked for; no other file than those of the index is.

        Raises:
            LookupError: The index has no such video.
        """
        gallery = self._live.current().gallery
        item = asked.item
        if asked.video is not None and asked.video.startswith(UPLOAD):
            try:
                upload = self._uploads.get(asked.video.removeprefix(UPLOAD))
            except KeyError:
                raise LookupError(
                    "the dropped video is no longer kept; drop it here again"
                ) from None
            return Found(asked.video, upload.name, upload.video, None)
        if asked.video is not None:
            item = gallery.item(asked.video)
        if item is None or item >= len(gallery.videos) or item in gallery.removed:
            raise LookupError("the index has no such video")
        return _of_item(gallery.videos[item], item)

    def answer(self, asked: Asked) -> dict[str, Any]:
        """Return the hits of a search; without a video, those that the filters leave.

        Raises:
            LookupError: The index has no such video.
            UsageError: A filter cannot be evaluated.
            MediaError: The video cannot be read.
        """
        began = time.perf_counter()
        index = self._live.current()
        items = _chosen(index, asked)
        window = slice(asked.offset, asked.offset + asked.count)
        document: dict[str, Any] = {"generation": index.folder.name, "filter": asked.where}
        if asked.video is None and asked.item is None and asked.copies:
            return document | self._copied(index, items, window)
        if asked.video is None and asked.item is None:
            listed = index.gallery.items if items is None else items
            shown = [_row(index.gallery.videos[item], item) for item in listed[window].tolist()]
            return document | {
                "hits": shown,
                "total": len(listed),
                "more": window.stop < len(listed),
            }
        found = self.find(asked)
        result, top = self._ranked(index, found, asked, items, window.stop)
        hits = [] if result is None else result.hits
        shown = [
            _row(index.gallery.videos[hit.item], hit.item)
            | {"rank": hit.rank, "score": hit.score, "start": hit.start, "end": hit.end}
            for hit in hits[window]
        ]
        return document | {
            "query": self.facts(found),
            "level": result.level if result else asked.level or "video",
            "span": result.span if result else asked.moment,
            "hits": shown,
            "more": window.stop < len(hits) or (len(hits) == top < _TOPS[-1]),
            "command": self._command(index, found, asked),
            "seconds": round(time.perf_counter() - began, 4),
        }

    def _copied(
        self, index: WarmIndex, items: NDArray[np.int64] | None, window: slice
    ) -> dict[str, Any]:
        """Return the videos of groups of copies that have one which the filters leave."""
        groups = self._copies.groups()
        if groups is None:
            return {"hits": [], "total": 0, "more": False, "pending": True}
        left = None if items is None else set(items.tolist())
        shown = [
            group
            for group in groups
            if left is None or left & {group.keep, *(each.second for each in group.copies)}
        ]
        gallery, listed = index.gallery, rows(shown)
        return {
            "hits": [_row(gallery.videos[item], item) | more for item, more in listed[window]],
            "total": len(listed),
            "more": window.stop < len(listed),
            "copies": summary(gallery, shown),
        }

    def facts(self, found: Found) -> dict[str, Any]:
        """Return the row of a video."""
        return _row(found.video, found.item, found.key, found.name)

    def _ranked(
        self,
        index: WarmIndex,
        found: Found,
        asked: Asked,
        items: NDArray[np.int64] | None,
        wanted: int,
    ) -> tuple[Answer | None, int]:
        """Return the answer, which is remembered, and how many hits it has at most."""
        lasso = None if asked.polygon is None else asked.polygon.tobytes()
        key = (
            index.folder, found.key, asked.moment, asked.level, asked.group_by, asked.own,
            asked.where, lasso,
        )  # fmt: skip
        top = next((top for top in _TOPS if wanted <= top), _TOPS[-1])
        with index.locked:
            if key in self._answers and self._answers[key][1] >= top:
                self._answers.move_to_end(key)
                return self._answers[key]
            broken: list[MediaError] = []
            moment = _cut(asked.moment, found.video)
            query = Query(found.name, found.video, found.item, moment)
            answers: Sequence[Answer] = []
            if items is None or len(items):
                answers = answer(
                    index, [query], broken, top=top, level=asked.level, items=items,
                    group_by=asked.group_by, device=self._device,
                    exclude_self=not asked.own if found.item is not None else None,
                )  # fmt: skip
            if broken:
                raise broken[0]
            self._answers[key] = (answers[0] if answers else None), top
            while len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
            return self._answers[key]

    def _command(self, index: WarmIndex, found: Found, asked: Asked) -> str:
        """Return the command line of the same search, with a name for a dropped video."""
        target = found.name if found.item is None else f"#{found.item}"
        if asked.moment:
            target += f"@{asked.moment[0]:g}-{asked.moment[1]:g}"
        words = ["vidssl", "retrieve", str(self._live.folder), target]
        words += ["--level", asked.level] if asked.level else []
        words += ["--group-by", asked.group_by] if asked.group_by else []
        words += ["--include-self"] if asked.own and found.item is not None else []
        words += ["--where", asked.where] if asked.where else []
        return visible(shlex.join(words))


def _of_item(video: Video, item: int) -> Found:
    return Found(video.path, os.path.basename(video.path), video, item)


def _row(
    video: Video, item: int | None, key: str | None = None, name: str | None = None
) -> dict[str, Any]:
    """Return what the page shows of a video; characters that act are made visible."""
    return {
        "id": quote(os.fsencode(key or video.path), safe="/:"),
        "item": item,
        "name": visible(name or os.path.basename(video.path)),
        "folder": visible(os.path.dirname(video.path)) if item is not None else "",
        "label": None if video.label is None else visible(video.label),
        "duration": video.duration,
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "there": is_there(video),
        "problems": list(video.problems),
    }


def _cut(moment: Moment | None, video: Video) -> Moment | None:
    """Cut a moment at the end of the video.

    Raises:
        MediaError: It begins after that.
    """
    if moment is None or video.duration is None:
        return moment
    if moment[0] >= video.duration:
        raise MediaError(f"the video ends at {video.duration:.2f} s", where=video.path)
    return moment[0], min(moment[1], video.duration)


def _chosen(index: WarmIndex, asked: Asked) -> NDArray[np.int64] | None:
    """Return the videos that the filters leave; None if there is no filter."""
    items = None if asked.where is None else matching(index.gallery, asked.where)
    if asked.polygon is not None:
        inside = index.inside(asked.polygon)
        items = inside if items is None else np.intersect1d(items, inside)
    return items
