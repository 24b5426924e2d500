"""The web application: addresses and what they answer.

/                 the page
/static/…         its script and its style
/api/index        what the index has; /api/map its videos as points
/api/search       hits; `vidssl_cli.pages.serve.asked` says what can be asked
/api/video        one video, and how it is played
/api/uploads      takes a video (POST)
/still /moving    pictures; /media the file of a video; /part some transcoded seconds of it
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.base.escaping import json_text, visible
from vidssl_cli.pages.html import templates
from vidssl_cli.pages.serve.asked import UPLOAD, read_asked
from vidssl_cli.pages.serve.guard import Guard
from vidssl_cli.pages.serve.kept import Kept
from vidssl_cli.pages.serve.playback import (
    PART,
    moving_thumbnail,
    playback_of,
    thumbnail,
    transcode,
)
from vidssl_cli.pages.serve.search import Search
from vidssl_cli.pages.serve.uploads import TooLargeError, Uploads

if TYPE_CHECKING:
    from starlette.requests import Request

    from vidssl_cli.pages.serve.asked import Asked
    from vidssl_cli.pages.serve.guard import Application
    from vidssl_cli.pages.serve.live_index import LiveIndex

_HERE = "vidssl_cli.pages.serve"
_PICTURES, _PARTS = 96 << 20, 256 << 20
"""Bytes of pictures, and of transcoded parts, that are kept in memory."""
_NAME = 300
"""Characters of the name of a dropped video."""
_STATIC = {
    "icon.svg": "image/svg+xml",
    "search.css": "text/css",
    "search.js": "text/javascript",
}
_FOR_GOOD = {"cache-control": "private, max-age=86400"}
_ANEW = {"cache-control": "no-store"}


class SearchPage:
    """The endpoints; those that are not coroutines run in threads."""

    def __init__(self, live: LiveIndex, uploads: Uploads, device: str) -> None:
        """Serve an index; queries are embedded on a device."""
        self._live, self._uploads = live, uploads
        self._search = Search(live, uploads, device)
        self._pictures, self._parts = Kept(_PICTURES), Kept(_PARTS)

    def page(self, request: Request) -> Response:
        """Return the page."""
        name = visible(os.path.basename(os.path.abspath(self._live.folder)))
        markup = templates(_HERE).get_template("search.html").render(name=name)
        return Response(markup, media_type="text/html", headers=_ANEW)

    def static(self, request: Request) -> Response:
        """Return the script or the style of the page."""
        name = request.path_params["name"]
        if name not in _STATIC:
            raise LookupError("there is no such file")
        content = (files(_HERE) / "static" / name).read_bytes()
        return Response(content, media_type=_STATIC[name], headers={"cache-control": "no-cache"})

    def index(self, request: Request) -> Response:
        """Return what the index has."""
        index = self._live.current()
        document: dict[str, Any] = {"generation": index.folder.name}
        if request.query_params.get("known") == index.folder.name:
            return _json(document)
        labels, every = index.labels, index.settings.every
        return _json(
            document
            | {
                "videos": len(index.gallery),
                "clips": index.gallery.clips,
                "every": every,
                "labels": [
                    {"name": name, "shown": visible(name), "count": count}
                    for name, count in zip(labels.names, labels.counts, strict=True)
                ],
                "folders": [
                    {"name": name, "shown": visible(name), "count": count}
                    for name, count in index.folders
                ],
                "largest": self._uploads.most,
                "part": PART,
            }
        )

    def map(self, request: Request) -> Response:
        """Return N videos as points: x and y (uint16), label (uint16), number (uint32)."""
        index = self._live.current()
        places = np.round(index.plane.astype(np.float64) * 65535).astype("<u2")
        columns = [places[:, 0], places[:, 1], index.labels.numbers.astype("<u2")]
        content = b"".join(column.tobytes() for column in columns)
        content += index.gallery.items.astype("<u4").tobytes()
        return Response(content, media_type="application/octet-stream", headers=_ANEW)

    def search(self, request: Request) -> Response:
        """Return hits."""
        return _json(self._search.answer(_asked(request)))

    def video(self, request: Request) -> Response:
        """Return one video, and how it is played."""
        found = self._search.find(_asked(request))
        playback = playback_of(found.video)
        played = {"way": playback.way, "type": playback.type, "why": visible(playback.why)}
        return _json(self._search.facts(found) | {"playback": played})

    def still(self, request: Request) -> Response:
        """Return a picture of a second of a video."""
        asked = _asked(request)
        video = self._search.find(asked).video
        key = "still", video.path, video.mtime_ns, asked.at
        return _webp(self._pictures.get(key, lambda: thumbnail(video, asked.at)))

    def moving(self, request: Request) -> Response:
        """Return a moving picture of a moment of a video."""
        asked = _asked(request)
        video = self._search.find(asked).video
        moment = asked.moment or (0.0, video.duration or 1.0)
        key = "moving", video.path, video.mtime_ns, moment
        return _webp(self._pictures.get(key, lambda: moving_thumbnail(video, moment)))

    def media(self, request: Request) -> Response:
        """Return the file of a video, or the range of it that a player asks for."""
        video = self._search.find(_asked(request)).video
        playback = playback_of(video)
        if playback.way != "file":
            raise MediaError(playback.why, where=video.path)
        return FileResponse(video.path, media_type=playback.type, headers=_ANEW)

    def part(self, request: Request) -> Response:
        """Return some seconds of a video as a file that browsers play."""
        asked = _asked(request)
        video = self._search.find(asked).video
        key = video.path, video.mtime_ns, asked.at
        content = self._parts.get(key, lambda: transcode(video, asked.at))
        return _ranged(content, request.headers.get("range"), "video/mp4")

    async def upload(self, request: Request) -> Response:
        """Take a video that was dropped into the page."""
        name = os.path.basename(request.query_params.get("name", ""))[:_NAME] or "dropped video"
        length = request.headers.get("content-length", "")
        size = int(length) if length.isdecimal() else None
        key = await self._uploads.add(name, size, request.stream())
        found = await run_in_threadpool(
            self._search.find, read_asked(f"video={UPLOAD}{key}".encode())
        )
        return _json(self._search.facts(found))


def make_app(
    live: LiveIndex, uploads: Uploads, *, device: str, host: str, token: str | None
) -> Application:
    """Return the application, guarded.

    Args:
        live: The index.
        uploads: Takes dropped videos.
        device: Where queries are embedded.
        host: Name or address that the server listens on.
        token: What requests must have; None lets all of this machine in.
    """
    page = SearchPage(live, uploads, device)
    routes: list[tuple[str, Callable[[Request], Any], str]] = [
        ("/", page.page, "GET"),
        ("/static/{name}", page.static, "GET"),
        ("/api/index", page.index, "GET"),
        ("/api/map", page.map, "GET"),
        ("/api/search", page.search, "GET"),
        ("/api/video", page.video, "GET"),
        ("/api/uploads", page.upload, "POST"),
        ("/still", page.still, "GET"),
        ("/moving", page.moving, "GET"),
        ("/media", page.media, "GET"),
        ("/part", page.part, "GET"),
    ]
    starlette = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for path, endpoint, method in routes],
        exception_handlers={
            LookupError: _refuser(404), MediaError: _refuser(422), TooLargeError: _refuser(413),
            UsageError: _refuser(400), VidsslError: _refuser(500),
        },
    )  # fmt: skip
    return Guard(starlette, host, token)


def _asked(request: Request) -> Asked:
    query: bytes = request.scope["query_string"]
    return read_asked(query)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    text = json_text(document)
    return Response(text, status, media_type="application/json", headers=_ANEW)


def _webp(content: bytes) -> Response:
    return Response(content, media_type="image/webp", headers=_FOR_GOOD)


def _refuser(status: int) -> Callable[[Request, Exception], Response]:
    """Return what answers a request that raised an error."""

    def refuse(request: Request, error: Exception) -> Response:
        message = error.args[0] if isinstance(error, LookupError) and error.args else error
        hint = getattr(error, "hint", None)
        return _json({"error": visible(str(message)), "hint": hint and visible(hint)}, status)

    return refuse


def _ranged(content: bytes, asked: str | None, kind: str) -> Response:
    """Return content, or the one range ``bytes=a-b`` of it that is asked for."""
    headers = {"accept-ranges": "bytes", **_ANEW}
    unit, _, span = (asked or "").partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not first.isdecimal() or (last and not last.isdecimal()):
        return Response(content, media_type=kind, headers=headers)
    begin, end = int(first), min(int(last or len(content)), len(content) - 1)
    if begin > end:
        return Response(status_code=416, headers={"content-range": f"bytes */{len(content)}"})
    headers["content-range"] = f"bytes {begin}-{end}/{len(content)}"
    return Response(content[begin : end + 1], 206, media_type=kind, headers=headers)
