"""What people see: results on stdout, everything else on stderr, no colour or bars when piped.

Of the processes that torchrun starts only the first one talks; of errors they all do.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any, TextIO, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 5.0
"""How often progress is told in a plain line when stderr is not a terminal."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would end the process with status 1; `vidssl_cli.cli` knows better


stdout = _Console(highlight=False)
stderr = _Console(stderr=True, highlight=False)


documents = 0
"""JSON documents printed so far: a command prints one, or else its failure does."""


_results: TextIO | None = None
"""Where results go while anything else that is printed goes to stderr."""


@contextmanager
def only_results() -> Iterator[None]:
    """Send to stderr what is printed on stdout by anything but `emit`, such as a plugin."""
    global _results
    _results = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


def _talks() -> bool:
    """Whether this process talks."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Tell how things are going, on stderr."""
    if _talks():
        stderr.print(escape(message), soft_wrap=True)


def warn(message: str) -> None:
    """Tell what went wrong without ending the command, on stderr."""
    if _talks():
        stderr.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)


def emit_json(document: Any) -> None:
    """Print a command's one JSON document on stdout."""
    global documents
    emit(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False))
    documents += 1


def emit(line: str) -> None:
    """Print a line of a command's result on stdout."""
    if _talks():
        (_results or sys.stdout).write(_encodable(line) + "\n")


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a result as a table on stdout; numbers are aligned right."""
    rows = [list(row) for row in rows]
    table = Table(
        title=escape(title) or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    for position, name in enumerate(columns):
        numeric = all(isinstance(row[position], int | float | None) for row in rows)
        table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*("–" if cell is None else escape(_encodable(str(cell))) for cell in row))
    if _talks():
        stdout.print(table)


def _encodable(text: str) -> str:
    """Write what is not UTF-8 in a file's name as an escape, which JSON reads back unchanged."""
    return text.encode(errors="backslashreplace").decode()


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while showing progress on stderr: a bar, or a line every few seconds."""
    if total is None and isinstance(items, Sequence):
        total = len(items)
    if stderr.is_terminal and _talks():
        from rich.progress import track as track_bar

        yield from track_bar(
            items, label, total=total, console=stderr, transient=True, disable=total == 0
        )
        return
    start = told = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= SECONDS_BETWEEN_LINES:
            told = now
            left = f", {(now - start) / done * (total - done):.0f} s left" if total else ""
            say(f"{label}: {done}{f' of {total}' if total else ''}{left}")
