"""Prints results on stdout and everything else on stderr, without colour or bars when piped.

Of the processes that torchrun starts, only the first prints; errors are printed by all.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from typing import Any, TextIO, TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.base.escaping import json_text, visible
from vidssl_cli.base.wording import duration

T = TypeVar("T")
Left = TypeVar("Left", bound=VidsslError)

SECONDS_BETWEEN_LINES = 5.0
"""Time between lines of progress when stderr is not a terminal."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # rich would end the process with status 1; `cli.failures` handles it


stdout = _Console(highlight=False, emoji=False)
stderr = _Console(stderr=True, highlight=False, emoji=False)
_unbounded = _Console(width=100_000, highlight=False, emoji=False)

NARROW = 16
"""Characters of a column that is not wrapped where a terminal is too narrow for a table."""

documents = 0
"""JSON documents printed so far: a command prints one, or else its error does."""

_results: TextIO | None = None
"""Where `emit` writes while stdout is sent to stderr."""


@contextmanager
def only_results() -> Iterator[None]:
    """Send what is printed on stdout to stderr, except by `emit`: a plugin may print."""
    global _results
    _results = sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = None


def is_first_process() -> bool:
    """Tell whether this process prints, and decides for those that train with it."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """Print progress on stderr; a closed or full stderr is no error."""
    if is_first_process():
        with suppress(OSError):  # a closed pipe, or a log on a full disk
            stderr.print(Text(visible(message)), soft_wrap=True)


def warn(message: str) -> None:
    """Print a warning on stderr; the command continues."""
    if is_first_process():
        with suppress(OSError):
            stderr.print("[yellow]warning:[/]", Text(visible(message)), soft_wrap=True)


def leave_out(error: Left, left_out: list[Left] | None = None) -> None:
    """Warn that a file is left out, and why; add the error to those of the others."""
    warn(f"{error.where}: {error}; it is left out")
    if left_out is not None:
        left_out.append(error)


def emit_json(document: Any, *, line: bool = False) -> None:
    """Print a command's one JSON document on stdout, or one of several, a line each."""
    global documents
    indent = None if line else 2
    text = json_text(document, indent=indent)
    encoding = (_results or sys.stdout).encoding or "utf-8"  # a StringIO has none
    if encoding.lower().replace("-", "") != "utf8":
        text = json.dumps(document, indent=indent, allow_nan=False)  # in ASCII
    emit(text, lines=True)
    documents += 1


def emit(text: str, *, lines: bool = False) -> None:
    """Print a line of a command's result, or several, on stdout."""
    if is_first_process():
        (_results or sys.stdout).write(visible(text, keep="\n" if lines else "") + "\n")


def emit_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a result as a table on stdout; numbers are aligned right.

    Long cells, such as paths, wrap on a terminal. Elsewhere a row is one line, whatever its length.
    """
    rows = [list(row) for row in rows]
    table = Table(box=SIMPLE_HEAD)
    for position, name in enumerate(columns):
        cells = [row[position] for row in rows]
        numeric = all(isinstance(cell, int | float | None) for cell in cells)
        justify: JustifyMethod = "right" if numeric else "left"
        longest = max((len(str(cell)) for cell in [name, *cells]), default=0)
        table.add_column(
            Text(visible(name)), justify=justify, overflow="fold", no_wrap=longest <= NARROW
        )
    for row in rows:
        table.add_row(*("–" if cell is None else Text(visible(str(cell))) for cell in row))
    if is_first_process():
        if title:
            stdout.print(Text(visible(title), "bold"), soft_wrap=True)
        (stdout if stdout.is_terminal else _unbounded).print(table)


@contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[], str]]:
    """Show a bar with the time left on a terminal, while other things are said above it.

    Yields:
        A function that counts one as done, and returns how many of how many, and the time left.
    """
    done, start = 0, time.monotonic()

    def advance() -> str:
        nonlocal done
        done += 1
        if shown:
            shown.advance(task)
        left = (time.monotonic() - start) / done * (total - done)
        return f"{done} of {total}" + (f", about {duration(left)} left" if done < total else "")

    with ExitStack() as stack:
        shown = None
        if stderr.is_terminal and is_first_process():
            from rich.progress import Progress

            columns = Progress.get_default_columns()
            # One of them may take hours: the speed is that of all the time.
            shown = Progress(
                *columns, console=stderr, transient=True, speed_estimate_period=math.inf
            )
            stack.enter_context(shown)
            task = shown.add_task(label, total=total)
        yield advance


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items while showing progress on stderr: a bar, or a line every few seconds."""
    if total is None and isinstance(items, Sequence):
        total = len(items)
    if stderr.is_terminal and is_first_process():
        from rich.progress import track as track_bar

        yield from track_bar(
            items, label, total=total, console=stderr, transient=True, disable=total == 0
        )
        return
    start = printed = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES:
            printed = now
            left = f", {duration((now - start) / done * (total - done))} left" if total else ""
            say(f"{label}: {done}{f' of {total}' if total else ''}{left}")
