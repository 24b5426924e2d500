"""Packed sets: videos whose pictures were decoded once, at the size that training wants.

A packed set is a folder that `vidssl data pack` makes:

    pack.json      what it holds and how it was made
    videos.jsonl   a manifest; every row says where the video's pictures are
    part-*.bin     the pictures, video after video: (T, H, W, 3) uint8 in the raw format;
                   T JPEGs, then the table of their T + 1 offsets, in the compact one

Files are read by offset, so that any number of threads, processes and machines may share a set, a
file that was cut short is an error and not a crash, and nothing stays in memory but what was asked
for. A process checks the SHA-256 of a video's bytes before it first parses any of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np

from vidssl_cli.artefacts import sha256
from vidssl_cli.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.scale import Scaler, target_size
from vidssl_cli.videos import Packed, Video, read_manifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABOUT = "pack.json"
VIDEOS = "videos.jsonl"

OFFSET = np.dtype("<u8")
"""Where a compact video's pictures begin, in bytes from the first one, and where the last ends."""

_AGAIN = "the `vidssl data pack` that made the set makes it anew"
_MEGABYTE = 1 << 20
_intact: set[Packed] = set()
"""What this process has checked."""


def is_packed_set(folder: Path) -> bool:
    """Tell whether a folder is a packed set, finished or not."""
    return (folder / ABOUT).is_file()


def read_about(folder: Path) -> dict[str, Any]:
    """Return what a packed set says of itself.

    Raises:
        DamagedFileError: It cannot be read.
    """
    path = folder / ABOUT
    try:
        about: dict[str, Any] = json.loads(path.read_bytes())
        about["settings"], about["videos"]  # fail here if there are none
    except (ValueError, LookupError, TypeError) as error:
        raise DamagedFileError("is damaged", where=str(path), hint=_AGAIN) from error
    return about


def read_set(folder: Path) -> list[Video]:
    """Return the videos of a packed set.

    Raises:
        UsageError: Packing has not finished.
        DamagedFileError: The set's table is not the one that was written, or a file is missing.
    """
    digest = read_about(folder)["videos"]
    if digest is None:
        raise UsageError(
            f"packing {folder} has not finished",
            where=str(folder),
            hint="the same `vidssl data pack` again goes on where it stopped",
        )
    table = folder / VIDEOS
    if not table.is_file() or sha256(table) != digest:
        raise DamagedFileError(
            "is not the table that was written", where=str(table),
            hint=f"{_AGAIN}; rows of your own go into a copy",
        )  # fmt: skip
    return read_manifest(table)


def is_changed(video: Video) -> bool:
    """Tell whether a packed video's own file, if it is there at all, holds other bytes now."""
    packed = video.packed
    assert packed
    try:
        status = os.stat(video.path)
    except OSError:  # a packed set needs no sources
        return False
    if (status.st_size, status.st_mtime_ns) == (packed.source_bytes, packed.source_mtime_ns):
        return False
    return sha256(Path(video.path)) != packed.source_sha256


def read_packed(
    video: Video, frames: Sequence[int], resize: tuple[int, int] | int
) -> NDArray[np.uint8]:
    """Return pictures of a packed video; arguments and result are those of `read_frames`.

    Raises:
        MediaError: The video has no such frame.
        UsageError: The pictures were packed smaller than ``resize``.
        DamagedFileError: The set is damaged.
    """
    packed, total = video.packed, video.frames or 0
    assert packed
    if frames[-1] >= total:
        raise MediaError(f"ends before frame {frames[-1]}; {total} are packed", where=video.path)
    own = (video.height or packed.height, video.width or packed.width)
    height, width = target_size(resize, own)
    if height > packed.height or width > packed.width:
        raise UsageError(
            f"pictures of {height}x{width} are wanted, but {packed.height}x{packed.width} were "
            "packed",
            where=video.path,
            hint=f"set input.resize to [{packed.height}, {packed.width}] or less, or pack larger",
        )
    pictures = np.empty((len(frames), height, width, 3), np.uint8)
    try:
        with open(packed.path, "rb", buffering=0) as file:
            _check(video, packed, file)
            read = _read_raw if packed.format == "raw" else _read_compact
            read(packed, file.fileno(), frames, total, pictures)
    except (OSError, av.FFmpegError) as error:
        raise _damaged(video, packed, str(error)) from error
    return pictures


def _read_raw(
    packed: Packed, file: int, frames: Sequence[int], total: int, pictures: NDArray[np.uint8]
) -> None:
    shape = (packed.height, packed.width, 3)
    size = packed.height * packed.width * 3
    as_packed = pictures.shape[1:] == shape
    scaler = Scaler()
    stored = np.empty(shape, np.uint8)
    for picture, number in zip(pictures, frames, strict=True):
        place = picture if as_packed else stored
        if os.preadv(file, [place.data], packed.offset + number * size) != size:
            raise OSError(f"frame {number} is cut short")
        if not as_packed:
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            picture[:] = scaler(frame, *picture.shape[:2])


def _read_compact(
    packed: Packed, file: int, frames: Sequence[int], total: int, pictures: NDArray[np.uint8]
) -> None:
    table = OFFSET.itemsize * (total + 1)
    ends = np.frombuffer(os.pread(file, table, packed.offset + packed.bytes - table), OFFSET)
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.thread_type, decoder.thread_count = "NONE", 1
    scaler = Scaler()
    for picture, number in zip(pictures, frames, strict=True):
        start, end = ends[number : number + 2].tolist()
        (frame,) = decoder.decode(av.Packet(os.pread(file, end - start, packed.offset + start)))
        picture[:] = scaler(frame, *picture.shape[:2])


def digest_of(packed: Packed, file: BinaryIO) -> str:
    """Return the SHA-256 of a video's bytes in an open file, which may end too early."""
    state = hashlib.sha256()
    file.seek(packed.offset)
    left = packed.bytes
    while left and (piece := file.read(min(left, _MEGABYTE))):
        state.update(piece)
        left -= len(piece)
    return state.hexdigest()


def _check(video: Video, packed: Packed, file: BinaryIO) -> None:
    """Compare a video's bytes with their digest, once in a process."""
    if packed in _intact:
        return
    if digest_of(packed, file) != packed.sha256:
        raise _damaged(video, packed, "its bytes are not those that were written")
    _intact.add(packed)


def _damaged(video: Video, packed: Packed, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"the packed pictures of {video.path} are damaged: {reason}",
        where=packed.path,
        hint=_AGAIN,
    )
