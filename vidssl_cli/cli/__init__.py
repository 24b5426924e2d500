"""The `vidssl` command line.

Each submodule registers its commands, whose bodies import what they run, so that `--help` is quick;
tests/test_startup.py checks that.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from vidssl_cli.base.errors import Interrupted, Preempted
from vidssl_cli.base.signals import StopSignals
from vidssl_cli.cli import (
    breadth,
    data,
    demo,
    doctor,
    duplicates,
    embed,
    evaluate,
    examine,
    export,
    pictures,
    plugins,
    published,
    quickstart,
    recipes,
    results,
    search,
    serve,
    sweep,
    train,
    weights,
)

app = typer.Typer(
    name="vidssl",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="New here? `vidssl quickstart VIDEOS` makes your videos searchable; `vidssl demo` makes "
    "its own.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"vidssl {version('vidssl')}")
        raise typer.Exit


@app.callback()
def vidssl(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    _debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of a failure; may stand anywhere."),
    ] = False,
    _no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins", help="Leave out the plugins of other packages; may stand anywhere."
        ),
    ] = False,
) -> None:
    """Learn video representations from unlabelled video, and search video with them."""


for module in (
    quickstart,
    demo,
    train,
    weights,
    evaluate,
    breadth,
    sweep,
    results,
    published,
    search,
    serve,
    duplicates,
    embed,
    export,
    pictures,
    data,
    examine,
    recipes,
    plugins,
    doctor,
):
    module.register(app)


def main(signals: StopSignals | None = None) -> None:
    """Run the command line and end the process with its exit status.

    Args:
        signals: Entered before this module was imported, so that no signal is lost.
    """
    from vidssl_cli.cli.failures import run

    # Read when torch is loaded. Threads of torch that wait by spinning take the cores from decoding
    # and from other processes: on two busy cores a step took up to nine times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # When they are imported, both look in all installed packages for plugins of their own, and fail
    # where one is damaged. No such plugin is needed here.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    for stream in (sys.stdout, sys.stderr):  # whose encoding may lack characters
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    with nullcontext(signals) if signals else StopSignals() as watched:
        status = run(app, sys.argv[1:], watched)
        if status in {Preempted.status, Interrupted.status}:
            # Python would wait for its threads, of which one may decode a large file.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        watched.ignore()
    sys.exit(status)
