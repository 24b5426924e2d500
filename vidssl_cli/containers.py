"""Whether a file is all there, as far as its container can tell; no picture is decoded.

Readers go on silently where a part of a Matroska file is missing, and end silently where the end
is. The sizes that a container is made of tell both. Formats without such sizes, above all MPEG
transport streams, cannot be checked.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from vidssl_cli.errors import MediaError
from vidssl_cli.limits import FRAMES

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675
_SIMPLE_BLOCK, _BLOCK_GROUP = 0xA3, 0xA0
_KNOWN = {
    *(0x1A45DFA3, _SEGMENT, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469),
    *(0x1043A770, 0x1254C367, 0xEC, 0xBF),  # down to here Segment and what it holds
    *(_CLUSTER, 0xE7, 0x5854, 0xA7, 0xAB, _SIMPLE_BLOCK, _BLOCK_GROUP, 0xAF),
}
"""Identifiers of Matroska's two upper levels (RFC 9559)."""

_BARE = {"h264", "hevc", "m4v", "mjpeg", "mpegvideo"}
"""Formats of pictures without a container, which FFmpeg finds also where a container is broken."""
_BUFFER = 1 << 13
"""Bytes read at a time: many small blocks, or little of a large one."""
_CONTAINERS = (".avi", ".mkv", ".mov", ".mp4", ".webm")


def check_container(path: str, form: str, *, fragmented: bool, most: int) -> None:
    """Walk over the sizes that a file is made of.

    Args:
        path: the file.
        form: the format's name in FFmpeg.
        fragmented: whether an MP4 file has no table of all its frames.
        most: more blocks than so many, of pictures and sound, are refused in a Matroska file.

    Raises:
        MediaError: something is missing or broken.
    """
    if form in _BARE and path.lower().endswith(_CONTAINERS):
        raise MediaError("is damaged: its beginning is missing", where=path)
    walk: Callable[[str, BinaryIO, int], None]
    if "matroska" in form:
        walk = partial(_walk_matroska, most=most)
    elif form == "avi":
        walk = _walk_riff
    elif "mp4" in form and fragmented:
        walk = _walk_boxes
    else:
        return
    with open(path, "rb", buffering=_BUFFER) as file:
        walk(path, file, os.path.getsize(path))


def _walk_matroska(path: str, file: BinaryIO, size: int, *, most: int) -> None:
    """Step from element to element, into the segment and its clusters."""
    position, end, blocks = 0, size, 0
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
        if blocks > most:
            raise MediaError(
                f"has more than {most} blocks of pictures and sound; {FRAMES} raises the limit",
                where=path,
            )


def _walk_riff(path: str, file: BinaryIO, size: int) -> None:
    """Step over the one or, from a gigabyte on, several RIFF chunks of an AVI file."""
    position = 0
    while (head := file.read(8)).startswith(b"RIFF"):
        length = int.from_bytes(head[4:], "little")
        position += 8 + length
        _refuse_cut(path, position, size)
        position += length % 2
        file.seek(position)


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


def _refuse_cut(path: str, needed: int, size: int) -> None:
    if needed > size:
        raise MediaError(
            f"is cut short: it should have {needed} bytes or more, but has {size}", where=path
        )
