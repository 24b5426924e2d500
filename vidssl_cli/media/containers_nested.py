"""Containers of parts within parts, each with its size: Matroska, AVI, MP4, ASF."""

from __future__ import annotations

import struct

from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.container_file import Broken, ContainerFile
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

_LONGEST_HEADER = 1 << 20
"""Bytes of the header of an ASF file that are looked through."""
_MISCOUNTED = 8
"""Bytes of its own head, which some writers count into the length of a RIFF chunk."""

_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST = 1
"""The flag of a recording that does not know its own length; others are given it at their end."""


def walk_matroska(file: ContainerFile, *, streams: int, most: int) -> None:
    """Step from element to element, into the segment and its clusters."""
    position, end, blocks = 0, file.size, 0
    tracks = set()
    while position < end:
        head = file.read(position, 12)
        wide = 9 - head[0].bit_length()  # bytes of the identifier
        element = int.from_bytes(head[:wide])
        if element not in _KNOWN or len(head) <= wide or not head[wide]:
            raise Broken(f"container: its blocks break off at byte {position}")
        long = 9 - head[wide].bit_length()  # bytes of the length
        unknown = (1 << 7 * long) - 1
        length = int.from_bytes(head[wide : wide + long]) & unknown
        position += wide + long
        if length == unknown:
            if element not in (_SEGMENT, _CLUSTER):
                raise Broken(f"container: its blocks break off at byte {position}")
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
                raise Broken(
                    f"container: holds blocks of {len(tracks)} tracks or more, and declares "
                    f"{streams}"
                )


def walk_riff(file: ContainerFile, *, stream: int, most: int) -> int | None:
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
                raise Broken(f"container: its chunks break off at byte {position}")
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
            raise Broken(f"container: its table of frames lists {chunk!r}")
        frames += chunk.startswith(b"%02d" % stream) and length > 0
    return frames


def walk_boxes(file: ContainerFile, *, fragmented: bool) -> None:
    """Step over the boxes of an MP4 file.

    One with a table of all its frames needs no box but that: readers take the first table, and
    never play what another one lists.
    """
    position, beginning = 0, 0
    kinds: set[bytes] = set()
    while position < file.size:
        head = file.read(position, 16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:])
        broken = not kind.isalnum() or (length < 8 and length != 0)
        if broken and fragmented:
            raise Broken(f"container: its boxes break off at byte {position}")
        if broken or length == 0:  # the last box, up to the end
            return
        if kind == b"ftyp":
            beginning = position
        if kind == b"moov" and kind in kinds and not fragmented:
            raise Broken(f"container: another file begins at byte {beginning}; it is never played")
        kinds.add(kind)
        position += length
        if fragmented:
            file.require(position)


def walk_asf(file: ContainerFile) -> None:
    """Find the packets of an ASF file, all of one size, and look at the head of each."""
    head = file.read(0, 24)
    begin = int.from_bytes(head[16:24], "little")
    file.require(begin)
    header = file.read(0, min(begin, _LONGEST_HEADER))
    place = header.find(_ASF_PROPERTIES)
    data = file.read(begin, 50)
    if not head.startswith(_ASF_HEADER) or place < 0 or not data.startswith(_ASF_DATA):
        raise Broken(f"container: its objects break off at byte {begin}")
    flags, size = struct.unpack_from("<II", header.ljust(place + 96, b"\0"), place + 88)
    end = begin + int.from_bytes(data[16:24], "little")
    if flags & _BROADCAST or end <= begin + len(data):
        end = file.size
    file.require(end)
    position = begin + len(data)
    first = file.read(position, 3)
    while size and position < end:
        file.require(position + size)
        if file.read(position, 3) != first or not any(first):
            raise Broken(f"container: its packets break off at byte {position}")
        position += size


def _refuse_more(path: str, blocks: int, most: int) -> None:
    if blocks > most:
        raise MediaError(
            f"has more than {most} blocks of pictures and sound; {FRAMES} raises the limit",
            where=path,
        )
