"""Pictures of packed videos.

Files are read by offset, so that any number of threads, processes and machines may share a set, a
file that was cut short is an error and not a crash, and nothing stays in memory but what was asked
for. A process checks the SHA-256 of a video's bytes before it first parses any of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np

from vidssl_cli.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.packed import REPAIR
from vidssl_cli.scale import Scaler, target_size
from vidssl_cli.videos import Packed, Video

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFFSET = np.dtype("<u8")
"""Where a compact video's pictures begin, in bytes from the first one, and where the last ends."""

_MEGABYTE = 1 << 20
_CUT = "the file is cut short"

_intact: set[Packed] = set()
"""What this process has checked."""


def read_packed(
    video: Video, frames: Sequence[int], resize: tuple[int, int] | int
) -> NDArray[np.uint8]:
    """Return pictures of a packed video; arguments and result are those of `read_planes`.

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
    pictures = np.empty((len(frames), 3, height, width), np.uint8)
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
    stored = np.empty((3, packed.height, packed.width), np.uint8)
    as_packed = pictures.shape[1:] == stored.shape
    scaler = Scaler()
    for picture, number in zip(pictures, frames, strict=True):
        place = picture if as_packed else stored
        start = packed.offset + number * stored.nbytes
        if os.preadv(file, [place.data], start) != stored.nbytes:
            raise OSError(_CUT)
        if not as_packed:
            rgb = np.ascontiguousarray(stored.transpose(1, 2, 0))
            scaler.draw(av.VideoFrame.from_ndarray(rgb), picture)


def _read_compact(
    packed: Packed, file: int, frames: Sequence[int], total: int, pictures: NDArray[np.uint8]
) -> None:
    table = OFFSET.itemsize * (total + 1)
    ends = np.frombuffer(_piece(file, packed.offset + packed.bytes - table, table), OFFSET)
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.thread_type, decoder.thread_count = "NONE", 1
    scaler = Scaler()
    for picture, number in zip(pictures, frames, strict=True):
        start, end = ends[number : number + 2].tolist()
        jpeg = _piece(file, packed.offset + start, end - start)
        (frame,) = decoder.decode(av.Packet(jpeg))
        scaler.draw(frame, picture)


def _piece(file: int, start: int, size: int) -> bytes:
    piece = os.pread(file, size, start)
    if len(piece) != size:
        raise OSError(_CUT)
    return piece


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
        hint=REPAIR,
    )
