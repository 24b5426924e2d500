"""Copies among the videos of an index: found in the background once the page asks for them."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from vidssl_cli.search.duplicates import find_duplicates
from vidssl_cli.search.duplicates_groups import spare_bytes
from vidssl_cli.search.store import open_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from vidssl_cli.pages.serve.live_index import LiveIndex
    from vidssl_cli.search.duplicates_groups import Group
    from vidssl_cli.search.duplicates_overlap import Overlap
    from vidssl_cli.search.gallery import Gallery


class Copies:
    """Groups of copies in the newest generation of an index, as `vidssl duplicates` finds them."""

    def __init__(self, live: LiveIndex) -> None:
        """Prepare; nothing is looked for yet."""
        self._live = live
        self._lock = threading.Lock()
        self._generation = ""
        self._found: Future[Sequence[Group]] | None = None

    def groups(self) -> Sequence[Group] | None:
        """Return the groups, or None while they are looked for.

        Raises:
            VidsslError: They could not be found; the next call tries again.
        """
        generation = self._live.current().folder.name
        with self._lock:
            idle = self._found is None or self._found.done()
            if idle and generation != self._generation:
                self._generation, self._found = generation, Future()
                work = (self._live.folder, self._found)
                threading.Thread(target=_find, args=work, name="copies", daemon=True).start()
            found = self._found
            if found and found.done() and found.exception():
                self._generation = ""
        return found.result() if found and found.done() else None


def _find(folder: Path, found: Future[Sequence[Group]]) -> None:
    try:  # in an index of its own: the page's serves searches meanwhile
        found.set_result(find_duplicates(open_index(folder)).groups)
    except BaseException as error:
        found.set_exception(error)


def rows(groups: Sequence[Group]) -> list[tuple[int, dict[str, Any]]]:
    """Return (item, what the page shows of it besides) of every video of the groups, in turn."""
    shown: list[tuple[int, dict[str, Any]]] = []
    for number, group in enumerate(groups, 1):
        shown.append((group.keep, {"group": number, "role": "keep", "part": ""}))
        shown += [
            (each.second, {"group": number, "role": "copy", "part": _part(each)})
            for each in group.copies
        ]
    return shown


def summary(gallery: Gallery, groups: Sequence[Group]) -> dict[str, int]:
    """Return how many groups and copies there are, and how many bytes the copies take."""
    copies = sum(len(group.copies) for group in groups)
    return {"groups": len(groups), "copies": copies, "bytes": spare_bytes(gallery, groups)}


def _part(each: Overlap) -> str:
    """Say which part of the kept video a copy shows."""
    if each.by == "content":
        return "the same content"
    mirrored = ", mirrored" if each.mirrored else ""
    spans = [f"{part.first[0]:.1f}–{part.first[1]:.1f} s" for part in each.parts]
    return f"{', '.join(spans)} of it{mirrored}"
