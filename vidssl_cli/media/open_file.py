"""Video files, opened: what is read at all, and why a file cannot be."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import av
from av.stream import Disposition

from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.media.limits import PIXELS, decoder_limit, limit, raised_by

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
    "rm,webm,wtv"
)
"""Containers that are read; above all no playlists, which point to other files."""

_BARE_JPEGS = (".mjpeg", ".mjpg")
"""Names of JPEGs one after the other; FFmpeg takes the first ones for a still picture."""
_OTHERS = {
    b"\xff\xd8\xff": "a still picture (JPEG)",
    b"\x89PNG\r\n": "a still picture (PNG)",
    b"BM": "a still picture (BMP)",
    b"II*\0": "a still picture (TIFF)",
    b"MM\0*": "a still picture (TIFF)",
    b"ID3": "sound (MP3)",
    b"fLaC": "sound (FLAC)",
}
"""What files are that begin so, if they are no video."""
_HEIC = b"ftyphei"
"""Bytes 4 to 10 of stills of phones. FFmpeg gives each of their tiles as a video."""
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml", b"<MPD")


@contextmanager
def opened(
    path: str, size: int | None = None, track: int | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video stream of a file; whatever goes wrong inside comes out as MediaError.

    Args:
        path: the file.
        size: bytes that it had when it was scanned, if that is known.
        track: number of the stream among all of the file; None takes the one FFmpeg prefers.
    """
    pixels = limit(PIXELS)
    try:
        _refuse_special(path, size)
        with av.open(
            os.path.abspath(path),  # a bare name like `concat:a.mp4` would be taken for a protocol
            "r",
            metadata_errors="surrogateescape",  # tags that are not UTF-8 are common in old avi
            format="mjpeg" if path.lower().endswith(_BARE_JPEGS) else None,
            options={"format_whitelist": FORMATS},
        ) as container:
            stream = _track(path, container, track)
            if stream.codec_context is None:
                raise MediaError("has pictures in a format that FFmpeg does not know", where=path)
            if stream.width * stream.height > pixels:
                raise MediaError(
                    f"has pictures of {stream.width}x{stream.height} pixels, {raised_by(PIXELS)}",
                    where=path,
                )
            # Frame threads hide damage, and threads across files are faster than within one.
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            options = {"max_pixels": str(decoder_limit(pixels))}
            if stream.codec_context.name == "mjpeg":
                options["err_detect"] = "explode"  # or a part shows what was in memory before
            stream.codec_context.options = options
            yield container, stream
    except VidsslError:
        raise
    except Exception as error:  # av raises several families, MemoryError among them
        raise MediaError(_reason(path, error), where=path) from error


def tracks(container: InputContainer) -> list[VideoStream]:
    """Return the video streams, without attached pictures such as the cover of an album."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _track(path: str, container: InputContainer, number: int | None) -> VideoStream:
    """Return a stream by its number, or the one that FFmpeg prefers."""
    found = tracks(container)
    if not found:
        cover = ", only a still picture that is attached" if container.streams.video else ""
        raise MediaError(f"has no video stream{cover}", where=path)
    if number is not None:
        stream = next((stream for stream in found if stream.index == number), None)
        if stream is None:
            raise MediaError(f"has no video stream {number}; scan it again", where=path)
        return stream
    best = container.streams.best("video")
    return best if isinstance(best, av.VideoStream) and best in found else found[0]


def stamp(path: str) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds.

    Raises:
        MediaError: it is not there, or nothing that may be read like a file.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise MediaError(_reason(path, error), where=path) from error
    for is_kind, name in _SPECIAL.items():
        if is_kind(status.st_mode):
            raise MediaError(f"is {name}, not a regular file", where=path)
    return status.st_size, status.st_mtime_ns


def ends_digest(path: str) -> str:
    """Return the SHA-256 of a file's first and last 4 KiB."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(_END)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
        return hashlib.sha256(head + file.read(_END)).hexdigest()


_END = 1 << 12
"""Bytes at either end of a file by which it is known again."""

_SPECIAL: dict[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def _refuse_special(path: str, scanned: int | None) -> None:
    """Refuse what would hang or mislead a reader before it is opened."""
    size, _ = stamp(path)
    if size == 0:
        raise MediaError("is empty", where=path)
    if scanned not in (None, size):
        raise MediaError(
            f"has {size} bytes, but had {scanned} when it was scanned; scan it again", where=path
        )
    with open(path, "rb", buffering=0) as file:
        if file.read(11).endswith(_HEIC):
            raise MediaError("is a still picture (HEIC), not a video", where=path)


def _reason(path: str, error: Exception) -> str:
    """Return why a file could not be read."""
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        with open(path, "rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            return "is a Git LFS pointer, not the video itself; `git lfs pull` fetches that"
        if head.startswith(b"\x00\x05\x16\x07"):
            return "is a macOS `._` resource file, not a video"
        if head.lstrip().startswith(_PLAYLISTS):
            return "is a playlist, which points to other files; name those"
        for start, kind in _OTHERS.items():
            if head.startswith(start):
                return f"is {kind}, not a video"
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return "is a picture (WebP), not a video"
        return f"is damaged, or no video of a known format ({error.strerror})"
    if "://" in path:
        return "is a URL; download the file and name that"
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be read: {told}"
