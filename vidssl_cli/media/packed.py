"""Pictures and optical flow of packed videos.

Files are read by offset, so that any number of threads, processes and machines may share a set, a
file that was cut short is an error and not a crash, and nothing stays in memory but what was asked
for. A process checks the SHA-256 of a video's bytes before it first parses any of them.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import av
import numpy as np

from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.contract.videos import PACK_AGAIN, Packed, PackedFlow, Video
from vidssl_cli.media.limits import decoder_limit
from vidssl_cli.media.scale import Scaler, target_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

OFFSET = np.dtype("<u8")
"""Where a compact video's pictures begin, in bytes from the first one, and where the last ends."""

FLOW_LIMIT = 20
"""Largest component of packed flow in pixels; larger ones are clipped (Wang's released code)."""
FLOW_SCALE = FLOW_LIMIT / 127
"""Pixels of one unit of packed flow, which is int8."""

_MEGABYTE = 1 << 20
_CUT = "the file is cut short"

_intact: set[tuple[str, Packed | PackedFlow]] = set()
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
            _check(video, packed, packed, file)
            read = _read_raw if packed.format == "raw" else _read_compact
            read(packed, file.fileno(), frames, total, pictures)
    except OSError as error:
        raise _damaged(video, packed, str(error)) from error
    except ValueError as error:
        raise _not_understood(video, packed, str(error)) from error
    return pictures


def _read_raw(
    packed: Packed, file: int, frames: Sequence[int], total: int, pictures: NDArray[np.uint8]
) -> None:
    if packed.bytes != 3 * packed.height * packed.width * total:
        raise OSError(_CUT)
    stored = np.empty((3, packed.height, packed.width), np.uint8)
    if total * stored.nbytes != packed.bytes:
        raise ValueError(f"{packed.bytes} bytes are not {total} pictures")
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
    ends = _ends(packed, file, total)
    decoder: Any = av.CodecContext.create("mjpeg", "r")
    decoder.thread_type, decoder.thread_count = "NONE", 1
    decoder.options = {"max_pixels": str(decoder_limit(packed.height * packed.width))}
    scaler = Scaler()
    for picture, number in zip(pictures, frames, strict=True):
        start, end = ends[number : number + 2].tolist()
        jpeg = _piece(file, packed.offset + start, end - start)
        try:
            (frame,) = decoder.decode(av.Packet(jpeg))
        except av.FFmpegError as error:
            raise ValueError(f"picture {number}: {error.strerror}") from error
        if (frame.height, frame.width) != (packed.height, packed.width):
            raise ValueError(f"picture {number} has {frame.height}x{frame.width} pixels")
        scaler.draw(frame, picture)


def read_packed_flow(video: Video, frames: Sequence[int]) -> NDArray[np.int8]:
    """Return the packed flow from the given frames to the ones after them.

    Args:
        video: A packed video that has flow.
        frames: (n,) frame numbers from 0.

    Returns:
        (n, 2, H, W) right and down in units of `FLOW_SCALE` pixels of the packed pictures.

    Raises:
        MediaError: The video has no frame after one of these.
        DamagedFileError: The set is damaged.
    """
    packed, pairs = video.packed, (video.frames or 0) - 1
    assert packed
    assert packed.flow
    if max(frames) >= pairs:
        raise MediaError(
            f"has no flow at frame {max(frames)}; {pairs} are packed", where=video.path
        )
    fields = np.empty((len(frames), 2, packed.height, packed.width), np.int8)
    try:
        with open(packed.path, "rb", buffering=0) as file:
            _check(video, packed, packed.flow, file)
            ends = _ends(packed.flow, file.fileno(), pairs)
            for field, number in zip(fields, frames, strict=True):
                start, end = ends[number : number + 2].tolist()
                piece = _piece(file.fileno(), packed.flow.offset + start, end - start)
                whole = zlib.decompressobj().decompress(piece, field.nbytes + 1)
                field.ravel()[:] = np.frombuffer(whole, np.int8)
    except OSError as error:
        raise _damaged(video, packed, str(error)) from error
    except (ValueError, zlib.error) as error:
        raise _not_understood(video, packed, str(error)) from error
    return fields


def verify_packed(video: Video) -> None:
    """Compare all bytes that were packed of a video with their digests.

    Raises:
        DamagedFileError: The set is damaged.
    """
    packed = video.packed
    assert packed
    try:
        with open(packed.path, "rb", buffering=0) as file:
            for kept in (packed, packed.flow):
                if kept:
                    _check(video, packed, kept, file)
    except OSError as error:
        raise _damaged(video, packed, str(error)) from error


def encode_flow(field: NDArray[np.float32]) -> bytes:
    """Return the bytes that keep a flow field (2, H, W) in pixels."""
    units = np.rint(field / np.float32(FLOW_SCALE)).clip(-127, 127).astype(np.int8)
    return zlib.compress(units.tobytes(), 1)


def _ends(kept: Packed | PackedFlow, file: int, pieces: int) -> NDArray[np.uint64]:
    """Read the table behind the pieces, which says where each begins and the last one ends."""
    table = OFFSET.itemsize * (pieces + 1)
    room = kept.bytes - table
    if room < 0:
        raise ValueError(f"{kept.bytes} bytes hold no table of {pieces} pieces")
    ends = np.frombuffer(_piece(file, kept.offset + room, table), OFFSET)
    if ends[0] != 0 or ends[-1] != room or (ends[1:] < ends[:-1]).any():
        raise ValueError(f"the table is not one of {pieces} pieces")
    return ends


def _piece(file: int, start: int, size: int) -> bytes:
    piece = os.pread(file, size, start)
    if len(piece) != size:
        raise OSError(_CUT)
    return piece


def digest_of(kept: Packed | PackedFlow, file: BinaryIO) -> str:
    """Return the SHA-256 of a video's bytes in an open file, which may end too early."""
    state = hashlib.sha256()
    file.seek(kept.offset)
    left = kept.bytes
    while left and (piece := file.read(min(left, _MEGABYTE))):
        state.update(piece)
        left -= len(piece)
    return state.hexdigest()


def _check(video: Video, packed: Packed, kept: Packed | PackedFlow, file: BinaryIO) -> None:
    """Compare a video's bytes with their digest, once in a process."""
    if (packed.path, kept) in _intact:
        return
    if (found := digest_of(kept, file)) != kept.sha256:
        raise _damaged(video, packed, f"their SHA-256 is {found}, not {kept.sha256}")
    _intact.add((packed.path, kept))


def _damaged(video: Video, packed: Packed, reason: str) -> DamagedFileError:
    return DamagedFileError(
        f"what was packed of {video.path} is damaged: {reason}",
        where=packed.path,
        hint=PACK_AGAIN,
    )


def _not_understood(video: Video, packed: Packed, reason: str) -> DamagedFileError:
    """Say what is wrong with bytes that are those of the row, by their digest."""
    return DamagedFileError(
        f"what was packed of {video.path} is as it was written, by its SHA-256, but cannot be "
        f"read: {reason}",
        where=packed.path,
        hint=f"{PACK_AGAIN}; if it was made by vidssl, this is a fault of vidssl or of FFmpeg",
    )
