"""Runs the search page until it is stopped."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.pages.serve.app import make_app
from vidssl_cli.pages.serve.guard import is_local
from vidssl_cli.pages.serve.live_index import LiveIndex
from vidssl_cli.pages.serve.uploads import Uploads

_CONNECTIONS = 200
_NEXT = 20
"""Ports that are tried one after another where none was asked for."""


@dataclass(frozen=True)
class Place:
    """Where a server listens."""

    host: str = "127.0.0.1"
    port: int | None = None
    """None: the first that is free from 8000 on; 0: any."""
    token: str | None = None


@contextmanager
def serving(
    folder: Path, place: Place, *, device: str = "auto", most: int = 2 << 30
) -> Iterator[str]:
    """Serve an index in another thread while entered; give the address.

    Args:
        folder: The index.
        place: Where to listen. An address that other machines reach gets a token if it has none.
        device: Where queries are embedded.
        most: Bytes of a dropped video.

    Raises:
        UsageError: The folder is no index, or the address cannot be used.
    """
    token = place.token
    if token is None and not is_local(place.host):
        token = secrets.token_urlsafe(16)
    live = LiveIndex(folder)
    with (
        TemporaryDirectory(prefix="vidssl-serve-") as uploads,
        _listening(place) as listener,
    ):
        application = make_app(
            live, Uploads(Path(uploads), most), device=device, host=place.host, token=token
        )
        server = uvicorn.Server(
            uvicorn.Config(
                application, log_level="warning", access_log=False, server_header=False,
                limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=1, lifespan="off",
                proxy_headers=False,
            )
        )  # fmt: skip
        thread = threading.Thread(target=server.run, args=([listener],), name="serve", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise VidsslError("the server did not start")
                time.sleep(0.01)
            host = f"[{place.host}]" if ":" in place.host else place.host
            address = f"http://{host}:{listener.getsockname()[1]}/"
            threading.Thread(target=_warm, args=(live, device), name="network", daemon=True).start()
            yield f"{address}?token={token}" if token else address
        finally:
            server.should_exit = True
            thread.join(5)


def _warm(live: LiveIndex, device: str) -> None:
    """Load the network, so that the first video that is dropped does not wait for it."""
    with contextlib.suppress(Exception):  # the search that needs it says what is wrong
        live.current().load_encoder(device)


@contextmanager
def _listening(place: Place) -> Iterator[socket.socket]:
    """Give a socket that is bound to a port."""
    tried = [place.port] if place.port is not None else range(8000, 8000 + _NEXT)
    problem: OSError | None = None
    for port in tried:
        try:
            family = socket.getaddrinfo(place.host, port, type=socket.SOCK_STREAM)[0][0]
            listener = socket.create_server((place.host, port), family=family)
        except OSError as error:
            problem = error
            continue
        with contextlib.closing(listener):
            yield listener
        return
    raise UsageError(
        f"cannot listen on {place.host}, port {tried[0]}: {problem and problem.strerror}",
        hint="choose another with --port, or 0 for any that is free",
    )
