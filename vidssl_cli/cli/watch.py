"""`vidssl index --watch`: adds the videos that appear in a folder until it is stopped."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import BusyError, UsageError, VidsslError
from vidssl_cli.base.wording import counted
from vidssl_cli.data.settled import SettledFiles
from vidssl_cli.search.build import NothingLeftError
from vidssl_cli.search.generations import read_pointer

if TYPE_CHECKING:
    from vidssl_cli.cli.index_run import IndexRun
    from vidssl_cli.search.build import Summary

LOOK = 2.0
"""Seconds between two looks at the folder."""
_SHARE = 10
"""How many times as long as a look took the next one waits, at least."""


def watched(run: IndexRun, folder: Path, *, prune: bool) -> Iterator[Summary]:
    """Add what is in a folder, and then what appears or changes; yield what was done each time.

    Args:
        run: Adds videos of the folder.
        folder: To look at.
        prune: Also update the index when files have gone.

    Raises:
        UsageError: It cannot be watched, or nothing that is in it at first can be used.
        VidsslError: The index cannot be written. Another process that writes it is waited for,
            but for the first time.
    """
    files = SettledFiles(folder)
    done: dict[str, tuple[int, int]] = {}
    generation = newest = None
    first, waiting = True, False
    while True:
        began = time.monotonic()
        there = files.look()
        took = time.monotonic() - began
        if not first and not waiting and _pointer(run.out) != newest:
            say("another process changed the index; all files are looked at again")
            done, generation = {}, None
        new = {path for path, facts in there.items() if done.get(path) != facts}
        gone = {path for path in done if not files.has(path)}
        if new or (prune and gone):
            if not waiting:
                _tell(new, gone)
            try:
                summary = run.add(new)
                newest, waiting = _pointer(run.out), False
                if summary.generation != generation:
                    yield summary
                generation = summary.generation
            except BusyError as error:
                if first:
                    raise
                if not waiting:
                    warn(f"{error.where}: {error}; it is waited for")
                waiting = True
            except (UsageError, NothingLeftError) as error:
                if first:
                    raise
                warn(str(error))  # such as that the disk of all videos is gone
                newest, waiting = _pointer(run.out), False
        if not waiting:
            done = {path: facts for path, facts in done.items() if files.has(path)} | there
        if first:
            say(f"watching {folder}; Ctrl-C stops")
        first = False
        time.sleep(max(LOOK, _SHARE * took))


def _pointer(index: Path) -> tuple[str, str] | None:
    """Return what the newest generation of an index is known by; None where there is no index."""
    try:
        return read_pointer(index)
    except VidsslError:
        return None


def _tell(new: Collection[str], gone: Collection[str]) -> None:
    changes = [counted(len(new), "file to add", "files to add")] if new else []
    changes += [counted(len(gone), "file has gone", "files have gone")] if gone else []
    say(", ".join(changes))
