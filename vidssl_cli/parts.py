"""Write the parts of packed sets: videos decoded in parallel, each part with a journal.

A part is written under a temporary name, renamed, and then entered into its journal, so that a
process that dies leaves finished parts behind and the next goes on from them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.artefacts import replacing, sha256
from vidssl_cli.console import track, warn
from vidssl_cli.decode import stream_planes
from vidssl_cli.encode import JpegEncoder
from vidssl_cli.errors import MediaError
from vidssl_cli.scale import target_size
from vidssl_cli.unpack import OFFSET
from vidssl_cli.videos import Packed, Video, write_manifest

Format = Literal["compact", "raw"]

PART_FRAMES = 8192
"""Frames of a part, unless one video has more: what a worker that is stopped has to repeat."""


@dataclass(frozen=True)
class Settings:
    """What all pictures of a set have in common."""

    resize: tuple[int, int] | int
    format: Format
    quality: int | None

    def coder(self, size: tuple[int, int]) -> Callable[[NDArray[np.uint8]], bytes]:
        """Return what turns pictures (3, H, W) of a size into bytes."""
        if self.quality is None:
            return lambda picture: picture.tobytes()
        return JpegEncoder(size, self.quality)

    def size(self, video: Video) -> tuple[int, int]:
        """Return height and width of a video's packed pictures."""
        return target_size(self.resize, (video.height or 1, video.width or 1))

    def as_document(self) -> dict[str, Any]:
        """Return the settings as they are read back from JSON."""
        resize = self.resize if isinstance(self.resize, int) else list(self.resize)
        return {"format": self.format, "resize": resize, "quality": self.quality}


def write_parts(
    videos: Sequence[Video],
    rows: dict[str, Video],
    out: Path,
    settings: Settings,
    workers: int,
) -> list[MediaError]:
    """Pack the videos, enter them into ``rows``, and return what is wrong with the others."""
    taken = [int(part.stem.removeprefix("part-")) for part in out.glob("part-*.bin")]
    done: SimpleQueue[Exception | None] = SimpleQueue()
    stop = Event()
    pool = ThreadPoolExecutor(workers, "pack")
    try:
        parts = [
            pool.submit(_write_part, part, out / f"part-{number:05}.bin", settings, done, stop)
            for number, part in enumerate(_cut(videos), max(taken, default=-1) + 1)
        ]
        broken = list(_troubles(done, len(videos)))
        for part in parts:
            rows |= {row.path: row for row in part.result()}
    finally:  # also when Ctrl-C ends the wait
        stop.set()
        pool.shutdown(cancel_futures=True)
    return broken


def _cut(videos: Sequence[Video]) -> Iterator[list[Video]]:
    """Cut the videos into parts."""
    part: list[Video] = []
    frames = 0
    for video in videos:
        part.append(video)
        frames += video.frames or 0
        if frames >= PART_FRAMES:
            yield part
            part, frames = [], 0
    if part:
        yield part


def _troubles(done: SimpleQueue[Exception | None], videos: int) -> Iterator[MediaError]:
    """Wait for every video; yield what is wrong with videos, raise what is wrong with workers."""
    for _ in track(range(videos), "packing"):
        trouble = done.get()
        if isinstance(trouble, MediaError):
            warn(f"{trouble.where}: {trouble}; it is left out")
            yield trouble
        elif trouble:
            raise trouble


def _write_part(
    videos: Sequence[Video],
    path: Path,
    settings: Settings,
    done: SimpleQueue[Exception | None],
    stop: Event,
) -> list[Video]:
    """Write one part and its journal; tell of every video when it is done."""
    rows = []
    try:
        with replacing(path) as file:
            for video in videos:
                if stop.is_set():
                    raise InterruptedError
                trouble = None
                try:
                    packed = _write_video(video, file, path, settings)
                    rows.append(replace(video, packed=packed))
                except MediaError as error:
                    trouble = error
                done.put(trouble)
        write_manifest(path.with_suffix(".jsonl"), rows)
    except Exception as error:
        done.put(error)
        raise
    return rows


def _write_video(video: Video, file: BinaryIO, path: Path, settings: Settings) -> Packed:
    """Append a video's pictures; on failure the file is as it was."""
    start = file.tell()
    state = hashlib.sha256()
    before = _status(video.path)
    try:
        for piece in _pieces(video, settings):
            file.write(piece)
            state.update(piece)
        source = sha256(Path(video.path))
        if _status(video.path) != before:
            raise MediaError("changed while it was packed", where=video.path)
    except MediaError:
        file.seek(start)
        file.truncate()
        raise
    height, width = settings.size(video)
    return Packed(
        path=os.path.abspath(path),
        offset=start,
        bytes=file.tell() - start,
        sha256=state.hexdigest(),
        format=settings.format,
        height=height,
        width=width,
        source_bytes=before[0],
        source_mtime_ns=before[1],
        source_sha256=source,
    )


def _pieces(video: Video, settings: Settings) -> Iterator[bytes]:
    """Yield the bytes of every picture, then the table that finds them if sizes differ."""
    size = settings.size(video)
    coder = settings.coder(size)
    ends = [0]
    for picture in stream_planes(video, range(video.frames or 0), size):
        piece = coder(picture)
        ends.append(ends[-1] + len(piece))
        yield piece
    if settings.format == "compact":
        yield np.array(ends, OFFSET).tobytes()


def _status(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", where=path) from error
    return status.st_size, status.st_mtime_ns
