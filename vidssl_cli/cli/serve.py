"""`vidssl serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from vidssl_cli.cli.options import Device, IndexFolder


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)


def serve(
    folder: IndexFolder,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. One that other machines reach needs a token, which is "
            "made and printed if --token gives none."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="By default the first that is free from 8000 on."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            envvar="VIDSSL_TOKEN",
            help="Let only those in who have this; give one on a machine that others use too.",
        ),
    ] = None,
    max_upload: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Size of a video that is dropped, at most.")
    ] = 2000,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.")
    ] = True,
    device: Device = "auto",
) -> None:
    """Search an index in the browser, until stopped by Ctrl-C.

    Drop a video in, or choose one of the gallery; search by a moment of it; play the hits; filter;
    and look at all videos on a map. It needs the extra `serve`.
    """
    import sys

    from vidssl_cli.base.console import emit, say
    from vidssl_cli.base.errors import UsageError

    try:
        from vidssl_cli.pages.serve.run import Place, serving
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UsageError(
            f"{error.name} is not installed", hint="pip install 'vidssl[serve]'"
        ) from None
    if token is not None and len(token) < 8:
        raise UsageError("a token has 8 characters or more", where="--token")
    place = Place(host, port, token)
    with serving(folder, place, device=device, most=max_upload * 10**6) as address:
        emit(address)
        sys.stdout.flush()  # a pipe would get it at the end
        say("Ctrl-C stops")
        if browser:
            _open(address)
        _wait()


def _open(address: str) -> None:
    """Open a browser window, where there is a screen."""
    import os
    import sys
    import webbrowser

    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(address)


def _wait() -> None:
    """Sleep until a signal ends the command."""
    import time

    while True:
        time.sleep(3600)
