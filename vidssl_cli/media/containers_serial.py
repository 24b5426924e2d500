"""Containers of one piece after the other: Ogg, MXF, FLV, GIF, DV."""

from __future__ import annotations

import struct
import zlib

from vidssl_cli.media.container_file import Broken, ContainerFile

_FIRST, _LAST = 2, 4
"""Flags of an Ogg page (RFC 3533)."""
_MIRRORED = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))
"""Bytes with their bits the other way round."""

_KEY = bytes.fromhex("060e2b34")
_PARTITION = bytes.fromhex("060e2b34020501010d01020101")
"""Beginnings of the keys of MXF (SMPTE 377): of all, and of the packs that begin a partition."""
_HEADER, _FOOTER = 2, 4
_CLOSED = (2, 4)
"""Kinds of partitions, and states of one that is finished."""
_RUN_IN = 1 << 16
"""Bytes that may come before the first key."""

_SOUND, _PICTURE, _SCRIPT = 8, 9, 18
"""Kinds of FLV tags."""
_SHOWN_LATER = 0.5
"""Seconds from the time of the last tag to the end of its picture, at most."""

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
"""Beginnings of the blocks of a GIF."""

_SEQUENCE, _BLOCK = 12_000, 80
"""Bytes of a DIF sequence of DV, and of each of its blocks (IEC 61834)."""
_SECTION = bytes(number & 0xE0 for number in range(256))
"""The bits of a block's first byte that tell its section."""
_SECTIONS = bytes([0x00, 0x20, 0x20, 0x40, 0x40, 0x40, *([0x60, *[0x80] * 15] * 9)])
"""Header, subcode, auxiliary data; then sound before every 15 blocks of pictures."""
_SEQUENCES = {0x00: 10, 0x80: 12}
"""Sequences of a channel of a frame, by the bit of its header that tells 525 lines from 625."""


def walk_ogg(file: ContainerFile) -> None:
    """Step from page to page; those of each stream are numbered, and the last one is marked."""
    position = 0
    numbers: dict[bytes, int] = {}
    running: set[bytes] = set()
    while position < file.size:
        head = file.read(position, 27 + 255)
        if not head.startswith(b"OggS") or len(head) < 27:
            raise Broken(f"container: its pages break off at byte {position}")
        flags, serial, (number,) = head[5], head[14:18], struct.unpack_from("<I", head, 18)
        if not flags & _FIRST and number != numbers.get(serial, -1) + 1:
            raise Broken(f"container: pages are missing before byte {position}")
        numbers[serial] = number
        (running.discard if flags & _LAST else running.add)(serial)
        length = 27 + head[26] + sum(head[27 : 27 + head[26]])
        file.require(position + length)
        if _ogg_checksum(file.read(position, length)) != head[22:26]:
            raise Broken(f"container: the page at byte {position} is damaged")
        position += length
    if running:
        raise Broken("end: its last page is not marked as such, as where a recorder was stopped")


def _ogg_checksum(page: bytes) -> bytes:
    """Return the CRC-32 of a page as it is stored: zlib's, with all bits the other way round."""
    content = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(content.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4).translate(_MIRRORED)


def walk_mxf(file: ContainerFile) -> None:
    """Step from key to key, up to the footer, which a file that is finished may do without."""
    position = max(0, file.read(0, _RUN_IN).find(_PARTITION))
    needs_footer = True
    while position < file.size:
        head = file.read(position, 16 + 9)
        if not head.startswith(_KEY) or len(head) < 17:
            raise Broken(f"container: its keys break off at byte {position}")
        wide = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + wide]) if wide else head[16]
        value = position + 17 + wide
        file.require(value + length)
        if head.startswith(_PARTITION) and head[13] == _HEADER:
            footer = int.from_bytes(file.read(value + 24, 8))
            needs_footer = bool(footer) or head[14] not in _CLOSED
            file.require(footer)
        if head.startswith(_PARTITION) and head[13] == _FOOTER:
            return
        position = value + length
    if needs_footer:
        raise Broken("end: its footer is missing, as where a recorder was stopped")


def walk_flv(file: ContainerFile) -> None:
    """Step from tag to tag, up to the size and the time that the file declares."""
    position = int.from_bytes(file.read(5, 4)) + 4
    size = declared = time = longest = 0.0
    while position < file.size:
        head = file.read(position, 11)
        if head.startswith(b"FLV\1"):
            raise Broken(f"container: another file begins at byte {position}; it is never played")
        if head[0] & 0x1F not in (_SOUND, _PICTURE, _SCRIPT):
            raise Broken(f"container: its tags break off at byte {position}")
        length = int.from_bytes(head[1:4])
        file.require(position + 11 + length)
        before, time = time, int.from_bytes(head[7:8] + head[4:7]) / 1000
        longest = max(longest, time - before)
        if head[0] == _SCRIPT:
            script = file.read(position + 11, length)
            size = size or _number(script, b"filesize")
            declared = declared or _number(script, b"duration")
        position += 11 + length + 4
    if size > file.size:
        raise Broken(f"cut short: has {file.size} bytes, and should have {size:.0f}")
    if declared > time + max(_SHOWN_LATER, 2 * longest):
        raise Broken(f"end: has {time:.2f} of the {declared:.2f} seconds that it declares")


def _number(script: bytes, key: bytes) -> float:
    """Return a number that a script tag of FLV gives, 0 if it does not."""
    _, _, value = script.partition(key + b"\0")  # the kind of value
    return float(struct.unpack(">d", value[:8])[0]) if len(value) >= 8 else 0.0


def walk_gif(file: ContainerFile) -> None:
    """Step from block to block, up to the trailer."""
    position = 13 + _colours(file.read(10, 1))
    while position < file.size:
        head = file.read(position, 10)
        if head[0] == _TRAILER:
            return
        if head[0] == _EXTENSION:
            position += 2
        elif head[0] == _IMAGE:
            position += 10 + _colours(head[9:]) + 1
        else:
            raise Broken(f"container: its blocks break off at byte {position}")
        position = _behind_parts(file, position)
    raise Broken("end: its trailer is missing")


def _behind_parts(file: ContainerFile, position: int) -> int:
    """Return where a chain of parts ends, of which the last one is empty."""
    while True:
        file.require(position + 1)
        chunk, place = file.read(position, 1 << 13), 0
        while place < len(chunk):
            length = chunk[place]
            place += 1 + length
            if not length:
                return position + place
        position += place


def _colours(flags: bytes) -> int:
    """Return the bytes of the table of colours that flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def walk_dv(file: ContainerFile) -> None:
    """Look at the head of every block; frames are 10 or 12 sequences, or twice or four times so."""
    position = 0
    while position < file.size:
        count = _SEQUENCES[(file.read(position + 3, 1) or b"\0")[0] & 0x80]
        for number in range(count):
            file.require(position + _SEQUENCE)
            sequence = file.read(position, _SEQUENCE)
            sections = sequence[::_BLOCK].translate(_SECTION)
            if sections != _SECTIONS or sequence[1] >> 4 != number:
                raise Broken(f"container: its blocks break off at byte {position}")
            position += _SEQUENCE
