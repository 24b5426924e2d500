"""Turns an exception into an exit status, one line and a hint, or a JSON document."""

from __future__ import annotations

import os
import re
import select
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import typer
from rich.text import Text

from vidssl_cli.base import console
from vidssl_cli.base.errors import (
    Interrupted,
    PluginError,
    Preempted,
    RecipeError,
    UsageError,
    VidsslError,
    notes,
)
from vidssl_cli.base.escaping import visible
from vidssl_cli.base.signals import Stopped, StopSignals, stopped

BROKEN_PIPE = 141
"""Exit status of a command whose reader has closed the pipe, as `| head` does."""

NO_PLUGINS = "--no-plugins"
ANYWHERE = {"--debug", NO_PLUGINS}
"""Options that may stand anywhere on a command line."""

STDOUT, STDERR = 1, 2
"""File descriptors."""

MOST, LONGEST = 50, 1000
"""Problems of one error that are printed, and characters of one."""


class UnexpectedError(VidsslError):
    """An exception that vidssl does not expect: exit status 1."""

    code = "unexpected"


def run(app: typer.Typer, arguments: Sequence[str], signals: StopSignals | None = None) -> int:
    """Run one command line and return its exit status.

    Args:
        app: Its commands.
        arguments: The words of the line.
        signals: End the command at once, or when it is safe for the command.
    """
    documents = console.documents
    try:
        _require_working_directory()
        # People add them at the end of a command that has just failed.
        plain = [argument for argument in arguments if argument not in ANYWHERE]
        if NO_PLUGINS in arguments:
            from vidssl_cli.contract.entry_points import DISABLE, OTHERS

            os.environ[DISABLE] = OTHERS
        results = console.only_results() if "--json" in arguments else nullcontext()
        with signals.at_once() if signals else nullcontext():
            with results:
                status = app(plain, prog_name="vidssl", standalone_mode=False)
            sys.stdout.flush()
        if status == Interrupted.status:  # what typer makes of Ctrl-C
            raise Interrupted("interrupted")
        return int(status or 0)
    except (Exception, SystemExit, Stopped) as error:
        cause = _cause(error)
        if _reader_is_gone():
            # Python flushes stdout once more at its end, and would complain.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, STDOUT)
            if not isinstance(cause, Preempted | Interrupted | Stopped):
                return BROKEN_PIPE
            os.dup2(nowhere, STDERR)  # Ctrl-C ends all of `vidssl … 2>&1 | tee log`
        if isinstance(cause, SystemExit) and not _plugin_error(cause):
            raise
        if "--debug" in arguments:
            told = traceback.format_exc()
            console.stderr.print(Text(visible(told, keep="\n")), soft_wrap=True, end="")
        # A command may fail after its document, as it does where media were skipped.
        as_json = "--json" in arguments and console.documents == documents
        return _tell(_explained(cause), as_json=as_json)


def _require_working_directory() -> None:
    """Refuse to work in a folder that was deleted, where torch cannot be imported."""
    try:
        os.getcwd()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"the working directory: {reason}", hint="cd to another folder") from None


def _cause(error: BaseException) -> BaseException:
    """Return the exception behind what typer makes of a broken pipe and of an end of file."""
    if isinstance(error, SystemExit) and isinstance(error.__context__, OSError):
        return error.__context__
    if isinstance(error, typer.Abort) and error.__cause__:
        return error.__cause__
    return error


def _explained(error: BaseException) -> VidsslError:
    """Return any exception as a `VidsslError`."""
    if plugin := _plugin_error(error):
        return plugin
    match error:
        case VidsslError():
            return error
        case Stopped():
            return stopped(error.number, hint=None)
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "vidssl"
            message = error.format_message().replace("\n\t", " ")  # a list of choices
            return UsageError(message, where=command, hint=f"see {command} --help")
        case OSError():
            file = None if error.filename is None else str(error.filename)
            return VidsslError(
                f"{error.strerror or error}{f': {file}' if file else ''}", where=file
            )
        case MemoryError() | RuntimeError() if _lacks_memory(error):
            message = "; ".join(
                [f"there is not enough memory: {error}".rstrip(": "), *notes(error)]
            )
            return VidsslError(message, hint="use fewer or smaller frames or clips")
        case ImportError():
            return VidsslError(str(error), where=error.name, hint="see `vidssl doctor`")
        case _:
            return UnexpectedError(
                "; ".join([f"{type(error).__name__}: {error}", *notes(error)]),
                hint="--debug shows where it happened; please report it",
            )


def _lacks_memory(error: BaseException) -> bool:
    """Tell whether memory ran out; torch says so only in its message."""
    return isinstance(error, MemoryError) or bool(
        re.search("out of memory|allocate memory", str(error))
    )


def _plugin_error(error: BaseException) -> PluginError | None:
    if "vidssl_cli.contract.registry" not in sys.modules:  # no plugin was ever loaded
        return None
    from vidssl_cli.config.attribution import plugin_error

    return plugin_error(error)


def _tell(error: VidsslError, *, as_json: bool) -> int:
    """Print an error on stderr, and as JSON on stdout; return the exit status."""
    message, lines = str(error), list(error.problems)
    if isinstance(error, UsageError) and message.startswith(
        "Usage: "
    ):  # no arguments: it is the help
        console.stderr.print(message, markup=False, soft_wrap=True)
        return error.status
    # Problems of a recipe begin with file:line:column, for editors that jump to it.
    located = isinstance(error, RecipeError)
    if error.where and error.where not in message and not isinstance(error, UsageError):
        lines[0] = f"{error.where}: {lines[0]}"
    if len(lines) > MOST:
        lines[MOST:] = [f"and {len(lines) - MOST} more"]
    with suppress(OSError):  # a log on a full disk; the exit status remains
        _print(lines, error.hint, located=located)
    if as_json:
        document = {"code": error.code, "message": str(error), "where": error.where}
        with suppress(OSError):  # stdout on a full disk; stderr has it
            console.emit_json({"error": document})
    return error.status


def _print(lines: Sequence[str], hint: str | None, *, located: bool) -> None:
    console.stderr.print("" if located else "[red]error:[/] ", end="")
    for line in lines:
        console.stderr.print(Text(_shortened(visible(line))), soft_wrap=True)
    if hint:
        console.stderr.print(Text(_shortened(visible(f"hint: {hint}"))), soft_wrap=True)


def _shortened(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def _reader_is_gone() -> bool:
    """Tell whether the reader of stdout or stderr has closed it."""
    poll = select.poll()
    for stream in (STDOUT, STDERR):
        poll.register(stream, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
