"""Make packed sets: every video is decoded once and its pictures kept at the size of training.

Work is cut into parts. A part is written under a temporary name, renamed, and then entered into a
journal, so that a process that dies leaves finished parts behind and the next goes on from them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any, BinaryIO, Literal

import av
import numpy as np
from numpy.typing import NDArray

from vidssl_cli.artefacts import atomic_write, locked, replacing, sha256, sweep
from vidssl_cli.console import say, track, warn
from vidssl_cli.decode import stream_planes
from vidssl_cli.encode import JpegEncoder
from vidssl_cli.errors import MediaError, UsageError
from vidssl_cli.packed import ABOUT, VIDEOS, is_changed, is_packed_set, read_about
from vidssl_cli.scale import target_size
from vidssl_cli.unpack import OFFSET, digest_of
from vidssl_cli.videos import Packed, Video, digest, read_manifest, write_manifest

Format = Literal["compact", "raw"]

QUALITY = 5
"""Quantiser of the JPEGs, from 2 (best) to 31. UCF101's files at 128x171 become 1.3 times their
size; docs/performance.md compares it with others and with video codecs."""

PART_FRAMES = 8192
"""Frames of a part, unless one video has more: what a worker that is stopped has to repeat."""

_SAMPLED_VIDEOS, _SAMPLED_FRAMES = 24, 8
"""What the size is estimated from."""


@dataclass(frozen=True)
class Made:
    """What packing did."""

    videos: list[Video]
    """Rows of the set."""
    broken: list[MediaError]
    """Videos that could not be decoded."""
    bytes: int
    """Of the pictures."""
    source_bytes: int
    """Of the files that they come from."""


@dataclass(frozen=True)
class _Settings:
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


def pack(
    data: Sequence[Video],
    out: Path,
    *,
    resize: tuple[int, int] | int,
    form: Format = "compact",
    workers: int | None = None,
) -> Made:
    """Make a packed set, or go on with one that was begun, or bring one up to date.

    Pictures that are there are checked; those that are damaged or whose source has changed are
    made anew. The set holds the videos of ``data`` and no others.

    Args:
        data: The videos, with their facts.
        out: Folder of the set.
        resize: (height, width) of the pictures, or the length of their short side.
        form: ``compact`` keeps JPEGs, ``raw`` keeps pixels as they are.
        workers: Videos decoded at a time; one per core if None.

    Raises:
        UsageError: ``out`` holds something else, or the disk is too small.
        VidsslError: Another process is writing this set.
    """
    if any(video.packed for video in data):
        raise UsageError("DATA is packed already", hint="name the videos that it was made from")
    if out.exists() and not is_packed_set(out) and any(out.glob("[!.]*")):
        raise UsageError(f"{out} holds something else than a packed set", where=str(out))
    settings = _Settings(resize, form, QUALITY if form == "compact" else None)
    with locked(out, "vidssl data pack"):
        known = _resume(out, settings)
        rows = {row.path: row for row in track(known, "checking") if _is_intact(row)}
        missing = [video for video in data if video.path not in rows]
        if missing:
            _foretell(missing, len(data), out, settings)
        broken = _write_parts(missing, rows, out, settings, workers or os.cpu_count() or 1)
        kept = [_named_like(rows[video.path], video) for video in data if video.path in rows]
        if not kept:
            raise UsageError("none of the videos could be packed", hint="the warnings say why")
        _finish(out, settings, kept)
    return Made(
        kept,
        broken,
        sum(row.packed.bytes for row in kept if row.packed),
        sum(row.packed.source_bytes for row in kept if row.packed),
    )


def _named_like(row: Video, video: Video) -> Video:
    """Return the row with the label, split and group that DATA gives now."""
    return replace(row, label=video.label, split=video.split, group=video.group)


def _resume(out: Path, settings: _Settings) -> list[Video]:
    """Return the rows that earlier runs have finished."""
    sweep(out)
    if not is_packed_set(out):
        _describe(out, settings, None)
    found, wanted = read_about(out)["settings"], settings.as_document()
    if found != wanted:
        raise UsageError(
            f"{out} was packed with {_told(found)}, not with {_told(wanted)}",
            where=str(out),
            hint="choose another --out, or delete that folder",
        )
    tables = [out / VIDEOS, *sorted(out.glob("part-*.jsonl"))]
    rows = [row for table in tables if table.is_file() for row in read_manifest(table)]
    _delete_unused(out, rows)
    return rows


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)


def _describe(out: Path, settings: _Settings, rows: Sequence[Video] | None) -> None:
    """Write what the set is; without rows it is one that has not been finished."""
    about: dict[str, Any] = {"settings": settings.as_document(), "videos": None}
    if rows is not None:
        about["videos"] = sha256(out / VIDEOS)
        about["source"] = digest([replace(row, packed=None) for row in rows])
    about["made_by"] = {name: version(name) for name in ("vidssl", "av")}
    about["made_by"] |= {name: av.library_versions[name] for name in ("libavcodec", "libswscale")}
    atomic_write(out / ABOUT, json.dumps(about, indent=2) + "\n")


def _delete_unused(out: Path, rows: Sequence[Video]) -> None:
    """Delete parts that no row points to, among them those whose writer died too early."""
    used = {row.packed.path for row in rows if row.packed}
    for part in out.glob("part-*.bin"):
        if os.path.abspath(part) not in used:
            part.unlink()


def _is_intact(row: Video) -> bool:
    """Tell whether a row's bytes are those that were written and its source has not changed."""
    if row.packed is None or is_changed(row):
        return False
    try:
        with open(row.packed.path, "rb", buffering=0) as file:
            return digest_of(row.packed, file) == row.packed.sha256
    except OSError:
        return False


def _foretell(videos: Sequence[Video], of: int, out: Path, settings: _Settings) -> None:
    """Say how many bytes the videos will take, from a few of them; refuse if there is no room."""
    pixels = written = 0
    for video in videos[:: max(1, len(videos) // _SAMPLED_VIDEOS)]:
        height, width = settings.size(video)
        coder = settings.coder((height, width))
        try:
            frames = range(min(_SAMPLED_FRAMES, video.frames or 1))
            for picture in stream_planes(video, frames, (height, width)):
                written += len(coder(picture))
                pixels += height * width
        except MediaError:
            continue  # it will be told when its turn comes
    total = sum((v.frames or 1) * settings.size(v)[0] * settings.size(v)[1] for v in videos)
    size = round(total * written / max(1, pixels))
    say(f"{len(videos)} of {of} videos to pack, which will take about {size / 1e9:.2f} GB")
    free = shutil.disk_usage(out).free
    if size > free:
        raise UsageError(
            f"{out} has room for {free / 1e9:.1f} GB, but the set needs about {size / 1e9:.1f}",
            where=str(out),
            hint="choose another place, a smaller size, or --format compact",
        )


def _write_parts(
    videos: Sequence[Video],
    rows: dict[str, Video],
    out: Path,
    settings: _Settings,
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
    settings: _Settings,
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


def _write_video(video: Video, file: BinaryIO, path: Path, settings: _Settings) -> Packed:
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


def _pieces(video: Video, settings: _Settings) -> Iterator[bytes]:
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


def _finish(out: Path, settings: _Settings, rows: Sequence[Video]) -> None:
    """Publish the table of all videos, then clear away what it makes superfluous."""
    write_manifest(out / VIDEOS, rows)
    _describe(out, settings, rows)
    for journal in out.glob("part-*.jsonl"):
        journal.unlink()
    _delete_unused(out, rows)
