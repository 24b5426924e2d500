"""Whether a file is all there, as far as its container can tell; no picture is decoded.

Readers go on silently where a part of a Matroska file is missing, and end silently where the end
is. The sizes that a container is made of tell both. Formats without such sizes, above all MPEG
transport streams, cannot be checked.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.limits import FRAMES

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0
_KNOWN = {
    *(0x1A45DFA3, _SEGMENT, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469),
    *(0x1043A770, 0x1254C367, 0xEC, 0xBF),  # down to here Segment and what it holds
    *(_CLUSTER, 0xE7, 0x5854, 0xA7, 0xAB, _SIMPLE_BLOCK, _BLOCK_GROUP, 0xAF),
}
"""Identifiers of Matroska's two upper levels (RFC 9559)."""

_ROW = struct.Struct("<4s8xI")
"""A row of the table of an AVI file: whose chunk it is, and its length."""
_NO_FRAMES = (b"rec ", bytes(4))
"""What such a table may list beside frames: groups of them, and nothing."""

_BARE = {"h264", "hevc", "m4v", "mjpeg", "mpegvideo"}
"""Formats of pictures without a container, which FFmpeg finds also where a container is broken."""
_BUFFER = 1 << 13
"""Bytes read at a time: many small blocks, or little of a large one."""
_CONTAINERS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def check_container(
    path: str, form: str, *, stream: int, streams: int, fragmented: bool, most: int
) -> int | None:
    """Walk over the sizes that a file is made of.

    Args:
        path: the file.
        form: the format's name in FFmpeg.
        stream: the number of the pictures' stream.
        streams: how many there are.
        fragmented: whether an MP4 file has no table of all its frames.
        most: more blocks than so many, of pictures and sound, are refused.

    Returns:
        How many frames the table of an AVI file lists, without those that were dropped; None if
        there is no such table.

    Raises:
        MediaError: something is missing or broken.
    """
    if form in _BARE and path.lower().endswith(_CONTAINERS):
        raise MediaError("is damaged: its beginning is missing", where=path)
    walk: Callable[[str, BinaryIO, int], int | None]
    if "matroska" in form:
        walk = partial(_walk_matroska, streams=streams, most=most)
    elif form == "avi":
        walk = partial(_walk_riff, stream=stream, most=most)
    elif "mp4" in form and fragmented:
        walk = _walk_boxes
    else:
        return None
    with open(path, "rb", buffering=_BUFFER) as file:
        return walk(path, file, os.path.getsize(path))


def _walk_matroska(path: str, file: BinaryIO, size: int, *, streams: int, most: int) -> None:
    """Step from element to element, into the segment and its clusters."""
    position, end, blocks = 0, size, 0
    tracks = set()
    while position < end:
        file.seek(position)
        head = file.read(12)
        wide = 9 - head[0].bit_length()  # bytes of the identifier
        element = int.from_bytes(head[:wide])
        if element not in _KNOWN or len(head) <= wide or not head[wide]:
            raise MediaError(f"is damaged: its blocks break off at byte {position}", where=path)
        long = 9 - head[wide].bit_length()  # bytes of the length
        unknown = (1 << 7 * long) - 1
        length = int.from_bytes(head[wide : wide + long]) & unknown
        position += wide + long
        if length == unknown:
            if element not in (_SEGMENT, _CLUSTER):
                raise MediaError(f"is damaged: its blocks break off at byte {position}", where=path)
            continue  # what was recorded live does not know its length
        _refuse_cut(path, position + length, size)
        if element == _SEGMENT:
            end = position + length
        elif element != _CLUSTER:
            position += length
        blocks += element in (_SIMPLE_BLOCK, _BLOCK_GROUP)
        _refuse_more(path, blocks, most)
        if element == _SIMPLE_BLOCK:
            tracks.add(head[wide + long : wide + long + 1])  # readers pass over those not declared
            if len(tracks) > streams:
                raise MediaError(
                    f"is damaged: holds blocks of {len(tracks)} tracks or more, and declares "
                    f"{streams}",
                    where=path,
                )


def _walk_riff(path: str, file: BinaryIO, size: int, *, stream: int, most: int) -> int | None:
    """Step from chunk to chunk of an AVI file, which from a gigabyte on has several RIFF chunks."""
    position, listed = 0, None
    while (head := file.read(12)).startswith(b"RIFF"):
        end = position + 8 + int.from_bytes(head[4:8], "little")
        _refuse_cut(path, end, size)
        position += len(head)
        while position + 8 <= end:
            file.seek(position)
            kind, length = struct.unpack("<4sI", file.read(8))
            if not (kind.isascii() and kind.decode().isprintable()):
                raise MediaError(f"is damaged: its chunks break off at byte {position}", where=path)
            _refuse_cut(path, position + 8 + length, size)
            if kind == b"idx1":
                _refuse_more(path, length // _ROW.size, most)
                listed = _listed(path, file.read(length - length % _ROW.size), stream)
            position += 8 + length + length % 2
        position = end + end % 2
        file.seek(position)
    return listed


def _listed(path: str, table: bytes, stream: int) -> int:
    """Count the frames of a stream in a table of an AVI file; those without bytes were dropped."""
    frames = 0
    for chunk, length in _ROW.iter_unpack(table):
        if not (chunk.isalnum() or chunk in _NO_FRAMES):
            raise MediaError(f"is damaged: its table of frames lists {chunk!r}", where=path)
        frames += chunk.startswith(b"%02d" % stream) and length > 0
    return frames


def _walk_boxes(path: str, file: BinaryIO, size: int) -> None:
    """Step over the boxes of an MP4 file."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:])
        if not kind.isalnum() or (length < 8 and length != 0):
            raise MediaError(f"is damaged: its boxes break off at byte {position}", where=path)
        if length == 0:  # the last box, up to the end
            return
        position += length
        _refuse_cut(path, position, size)


def _refuse_more(path: str, blocks: int, most: int) -> None:
    if blocks > most:
        raise MediaError(
            f"has more than {most} blocks of pictures and sound; {FRAMES} raises the limit",
            where=path,
        )


def _refuse_cut(path: str, needed: int, size: int) -> None:
    if needed > size:
        raise MediaError(
            f"is cut short: it should have {needed} bytes or more, but has {size}", where=path
        )
