"""Whether a file is all there, as far as its container can tell; no picture is decoded.

Readers go on silently where a part of a Matroska file is missing, and end silently where the end
is. The sizes that a container is made of tell both. Formats without such sizes, above all MPEG
transport streams, cannot be checked.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
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
_MISCOUNTED = 8
"""Bytes of its own head, which some writers count into the length of a RIFF chunk."""
_BUFFER = 1 << 13
"""Bytes read at a time: many small blocks, or little of a large one."""
_CONTAINERS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def check_container(
    path: str, form: str, *, stream: int, streams: int, fragmented: bool, most: int
) -> tuple[int | None, str]:
    """Walk over the sizes that a file is made of.

    Args:
        path: the file.
        form: the format's name in FFmpeg.
        stream: the number of the pictures' stream.
        streams: how many there are.
        fragmented: whether an MP4 file has no table of all its frames.
        most: more blocks than so many, of pictures and sound, are refused.

    Returns:
        How many frames the table of an AVI file lists, without those that were dropped, None if
        there is no such table; and what is missing or broken, if anything is.

    Raises:
        MediaError: there are too many blocks.
    """
    if form in _BARE and path.lower().endswith(_CONTAINERS):
        return None, "beginning: the container that the name promises is missing"
    walk: Callable[[_File], int | None]
    if "matroska" in form:
        walk = partial(_walk_matroska, streams=streams, most=most)
    elif form == "avi":
        walk = partial(_walk_riff, stream=stream, most=most)
    elif "mp4" in form and fragmented:
        walk = _walk_boxes
    else:
        return None, ""
    with open(path, "rb", buffering=_BUFFER) as content:
        file = _File(path, content, os.path.getsize(path))
        try:
            return walk(file), ""
        except _Broken as broken:
            return file.listed, str(broken)


class _Broken(Exception):
    """Something is missing or broken, and the walk ends."""


@dataclass
class _File:
    path: str
    content: BinaryIO
    size: int
    listed: int | None = None
    """Frames in the table of an AVI file, once it was seen."""

    def read(self, position: int, count: int) -> bytes:
        self.content.seek(position)
        return self.content.read(count)

    def require(self, end: int) -> None:
        """Say so if the file ends too early."""
        if end > self.size:
            raise _Broken(f"cut short: has {self.size} bytes, and should have {end} or more")


def _walk_matroska(file: _File, *, streams: int, most: int) -> None:
    """Step from element to element, into the segment and its clusters."""
    position, end, blocks = 0, file.size, 0
    tracks = set()
    while position < end:
        head = file.read(position, 12)
        wide = 9 - head[0].bit_length()  # bytes of the identifier
        element = int.from_bytes(head[:wide])
        if element not in _KNOWN or len(head) <= wide or not head[wide]:
            raise _Broken(f"container: its blocks break off at byte {position}")
        long = 9 - head[wide].bit_length()  # bytes of the length
        unknown = (1 << 7 * long) - 1
        length = int.from_bytes(head[wide : wide + long]) & unknown
        position += wide + long
        if length == unknown:
            if element not in (_SEGMENT, _CLUSTER):
                raise _Broken(f"container: its blocks break off at byte {position}")
            continue  # what was recorded live does not know its length
        file.require(position + length)
        if element == _SEGMENT:
            end = position + length
        elif element != _CLUSTER:
            position += length
        blocks += element in (_SIMPLE_BLOCK, _BLOCK_GROUP)
        _refuse_more(file.path, blocks, most)
        if element == _SIMPLE_BLOCK:
            tracks.add(head[wide + long : wide + long + 1])  # readers pass over those not declared
            if len(tracks) > streams:
                raise _Broken(
                    f"container: holds blocks of {len(tracks)} tracks or more, and declares "
                    f"{streams}"
                )


def _walk_riff(file: _File, *, stream: int, most: int) -> int | None:
    """Step from chunk to chunk of an AVI file, which from a gigabyte on has several RIFF chunks.

    Writers miscount the length of a RIFF chunk, and no reader minds; those of the chunks in it
    count. RIFF chunks of other kinds behind it are no part of it.
    """
    position = 0
    while (head := file.read(position, 12)).startswith(b"RIFF") and head[8:].startswith(b"AVI"):
        end = position + 8 + int.from_bytes(head[4:8], "little")
        position += len(head)
        while position + 8 <= min(end, file.size):
            kind, length = struct.unpack("<4sI", file.read(position, 8))
            if not (kind.isascii() and kind.decode().isprintable()):
                raise _Broken(f"container: its chunks break off at byte {position}")
            file.require(position + 8 + length)
            if kind == b"idx1":
                _refuse_more(file.path, length // _ROW.size, most)
                table = file.read(position + 8, length - length % _ROW.size)
                file.listed = _listed(table, stream)
            position += 8 + length + length % 2
        file.require(end - _MISCOUNTED)
        position = end + end % 2
    return file.listed


def _listed(table: bytes, stream: int) -> int:
    """Count the frames of a stream in a table of an AVI file; those without bytes were dropped."""
    frames = 0
    for chunk, length in _ROW.iter_unpack(table):
        if not (chunk.isalnum() or chunk in _NO_FRAMES):
            raise _Broken(f"container: its table of frames lists {chunk!r}")
        frames += chunk.startswith(b"%02d" % stream) and length > 0
    return frames


def _walk_boxes(file: _File) -> None:
    """Step over the boxes of an MP4 file."""
    position = 0
    while position < file.size:
        head = file.read(position, 16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:])
        if not kind.isalnum() or (length < 8 and length != 0):
            raise _Broken(f"container: its boxes break off at byte {position}")
        if length == 0:  # the last box, up to the end
            return
        position += length
        file.require(position)


def _refuse_more(path: str, blocks: int, most: int) -> None:
    if blocks > most:
        raise MediaError(
            f"has more than {most} blocks of pictures and sound; {FRAMES} raises the limit",
            where=path,
        )
