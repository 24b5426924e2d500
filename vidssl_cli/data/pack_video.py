"""What a packed set keeps of one video: its pictures, then its optical flow if that is wanted."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import SpooledTemporaryFile
from threading import Event
from typing import IO, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import FlowMethod, Packed, PackedFlow, Video
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.media.decode import stream_planes
from vidssl_cli.media.encode import JpegEncoder
from vidssl_cli.media.flow import FlowEstimator, grey
from vidssl_cli.media.open_file import stamp
from vidssl_cli.media.packed import OFFSET, encode_flow
from vidssl_cli.media.scale import target_size

Format = Literal["compact", "raw"]

_MEMORY = 1 << 26
"""Bytes of a video's flow that are kept in memory until its pictures are written."""


@dataclass(frozen=True)
class Settings:
    """What all pictures of a set have in common."""

    resize: tuple[int, int] | int
    format: Format
    quality: int | None
    flow: FlowMethod | None = None

    def coder(self, size: tuple[int, int]) -> VideoCoder:
        """Return what turns the pictures of one video, of a size, into bytes."""
        return VideoCoder(self, size)

    def size(self, video: Video) -> tuple[int, int]:
        """Return height and width of a video's packed pictures."""
        return target_size(self.resize, (video.height or 1, video.width or 1))

    def as_document(self) -> dict[str, Any]:
        """Return the settings as they are read back from JSON."""
        resize = self.resize if isinstance(self.resize, int) else list(self.resize)
        document = {"format": self.format, "resize": resize, "quality": self.quality}
        return document | ({"flow": self.flow} if self.flow else {})


class VideoCoder:
    """Turns the pictures of a video, one after the other, into what a set keeps of them."""

    def __init__(self, settings: Settings, size: tuple[int, int]) -> None:
        self._jpeg = None if settings.quality is None else JpegEncoder(size, settings.quality)
        self._estimate = FlowEstimator(settings.flow) if settings.flow else None
        self._before: NDArray[np.uint8] | None = None

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[bytes, bytes | None]:
        """Return the bytes of a picture (3, H, W) and of the flow to it, if there is any."""
        piece = self._jpeg(picture) if self._jpeg else picture.tobytes()
        if self._estimate is None:
            return piece, None
        before, self._before = self._before, grey(picture)
        if before is None:
            return piece, None
        return piece, encode_flow(self._estimate(before, self._before))


def write_video(
    video: Video, file: BinaryIO, path: Path, settings: Settings, stop: Event
) -> Packed:
    """Append a video's pictures, and its flow if wanted; on failure the file is as it was.

    Raises:
        MediaError: the video cannot be packed.
        InterruptedError: it was told to stop, and the file cannot be used.
    """
    start = file.tell()
    before = stamp(video.path)
    size = settings.size(video)
    try:
        with SpooledTemporaryFile(_MEMORY, dir=str(path.parent)) as aside:
            pictures, flow = Pieces(file), Pieces(aside)
            coder = settings.coder(size)
            for picture in stream_planes(video, range(video.frames or 0), size):
                if stop.is_set():
                    raise InterruptedError
                piece, field = coder(picture)
                pictures.add(piece)
                if field is not None:
                    flow.add(field)
            kept = pictures.close(with_table=settings.format == "compact")
            kept_flow = None
            if settings.flow:
                kept_flow = PackedFlow(
                    **flow.close(with_table=True) | {"offset": file.tell()}, method=settings.flow
                )
                aside.seek(0)
                shutil.copyfileobj(aside, file)
        source = sha256(Path(video.path))
        if stamp(video.path) != before:
            raise MediaError("changed while it was packed", where=video.path)
    except MediaError:
        file.seek(start)
        file.truncate()
        raise
    return Packed(
        path=os.path.abspath(path),
        **kept,
        format=settings.format,
        height=size[0],
        width=size[1],
        source_bytes=before[0],
        source_mtime_ns=before[1],
        source_sha256=source,
        flow=kept_flow,
    )


class Pieces:
    """Bytes that are written one after the other, with their digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._start = file.tell()
        self._ends = [0]
        self._state = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Append a piece."""
        self._file.write(piece)
        self._state.update(piece)
        self._ends.append(self._ends[-1] + len(piece))

    def close(self, with_table: bool) -> dict[str, Any]:
        """Append the table that finds the pieces, if wanted; return offset, bytes and SHA-256."""
        if with_table:
            self.add(np.array(self._ends, OFFSET).tobytes())
        size = self._file.tell() - self._start
        return {"offset": self._start, "bytes": size, "sha256": self._state.hexdigest()}
