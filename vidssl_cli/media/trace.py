"""One decode of a whole video stream: what came of every packet, and what is missing.

Decoders and containers pass over much in silence, so each packet is marked, and each picture tells
which packet it comes from.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from av.codec.context import Flags
from av.video.reformatter import Interpolation, VideoReformatter

from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.decode import good_frames, packets, shown_size
from vidssl_cli.media.limits import DECODED, FRAMES, limit, raised_by

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_OPENING = 16
"""Packets without a picture that an open group of pictures may have at the start."""
_PLACEHOLDER = 16
"""Bytes below which a packet of MPEG-4 may stand for no picture: one byte where another packet held
two pictures (DivX, XviD), a head alone where the encoder dropped a picture that stood still."""
_HIDING = ("vp8", "vp9")
"""Codecs with pictures that are never shown."""


@dataclass(slots=True)
class _Packet:
    """What became of a piece of the stream."""

    size: int
    shown: bool
    """Whether no edit list hides it."""
    pictures: int = 0


@dataclass
class Trace:
    """What one decode of a whole file saw."""

    packets: list[_Packet] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    checksums: list[int] = field(default_factory=list)
    timestamps: list[int | None] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    width: int = 0
    height: int = 0
    end: float = 0.0
    """Latest end of a packet, in ticks."""
    interlaced: bool = False

    def follow(self, found: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Mark the packets, so that each picture tells which it comes from."""
        for packet in found:
            if packet.size:
                self.packets.append(_Packet(packet.size, not packet.is_discard))
                packet.opaque = self.packets[-1]  # av tells marks apart by identity
                if packet.pts is not None and not packet.is_discard:
                    self.end = max(self.end, packet.pts + (packet.duration or 0))
            yield packet

    def leave_out(self, kind: str) -> None:
        """Count what is left out; what it comes from has been accounted for."""
        self.left_out[kind] += 1


def decode_all(path: str, container: InputContainer, stream: VideoStream) -> Trace:
    """Decode a stream from its beginning to its end.

    Raises:
        MediaError: nothing decodes, or there are too many frames.
    """
    trace = Trace()
    reformatter = VideoReformatter()
    most = limit(FRAMES)
    stream.codec_context.flags |= Flags.copy_opaque
    followed = trace.follow(packets(container, stream))
    frames = good_frames(container, stream, followed, trace.leave_out)
    for number, frame in enumerate(frames):
        if number == 0:
            trace.height, trace.width = shown_size(frame)
        if number == most:
            raise MediaError(f"has {number + 1} frames or more, {raised_by(FRAMES)}", where=path)
        trace.checksums.append(checksum(frame, reformatter))
        trace.timestamps.append(frame.pts)
        trace.interlaced |= frame.interlaced_frame
        if frame.key_frame:
            trace.keyframes.append(number)
        if isinstance(frame.opaque, _Packet):
            frame.opaque.pictures += 1
    if not trace.checksums:
        why = ", ".join(f"{count} {kind}" for kind, count in trace.left_out.items())
        raise MediaError(f"holds no frame that decodes{why and f' ({why})'}", where=path)
    return trace


def listed_packets(container: InputContainer, stream: VideoStream, table: int | None) -> int:
    """Return how many packets the file says that it holds."""
    # The table of an mp4 knows of edit lists, and that of an avi of frames that were dropped, which
    # their headers do not. The table of an avi may be missing, and FFmpeg's own have headers that
    # count one too many where there is sound.
    known = "mp4" in container.format.name or table is not None
    declared = 0 if known else stream.frames - (len(container.streams) > 1)
    return max(len(stream.index_entries), declared, table or 0)


def refuse_little(path: str, trace: Trace, listed: int) -> None:
    """Refuse a file of which too little decodes."""
    least = limit(DECODED)
    shown = sum(packet.shown for packet in trace.packets)
    expected = shown + max(0, listed - len(trace.packets))
    if 100 * len(trace.checksums) < least * expected:
        raise MediaError(
            f"is damaged: {len(trace.checksums)} of its {expected} frames decode, less than "
            f"{least} %, which {DECODED} lowers",
            where=path,
        )


def missing(
    container: InputContainer, stream: VideoStream, trace: Trace, listed: int
) -> Iterator[str]:
    """Yield what does not decode, and what the file says that it holds and does not."""
    total = len(trace.packets)
    for kind, count in trace.left_out.items():
        yield f"{kind}: {count} of {total}"
    if total < listed:
        yield f"end: has {total} of {listed} frames that it lists"
    form = container.format.name
    # An MP4 file in fragments declares the time of the first, and ASF that of its longest stream.
    tells = ("mp4" in form and stream.frames) or (form == "asf" and len(container.streams) == 1)
    if tells and stream.duration:
        part = (trace.end - (stream.start_time or 0)) / stream.duration
        if part < 1 - 1.5 / total:
            yield f"end: its frames take {part:.0%} of the time that it declares"
    opening, silent = _silent(trace, stream.codec_context.name)
    if opening > _OPENING:
        yield f"beginning: {opening} of {total} packets come before the first pictures"
    if (lost := silent - trace.left_out.total()) > 0:
        yield f"packets without a picture: {lost} of {total}"


def _silent(trace: Trace, codec: str) -> tuple[int, int]:
    """Count the packets that give no picture though they should: at the start, and later.

    At the start, that is before the second picture, they need pictures that are not in the file.
    """
    if codec in _HIDING:
        return 0, 0
    # What comes behind the last picture of a GIF is a packet too: a comment, or Photoshop's XMP.
    pieces = trace.packets[:-1] if codec == "gif" else trace.packets
    silent = [
        number
        for number, packet in enumerate(pieces)
        if packet.shown
        and not packet.pictures
        and not (codec == "mpeg4" and packet.size <= _PLACEHOLDER)
    ]
    # Two packets may be the two fields of a frame: then every second one is silent.
    if trace.interlaced and 2 * len(silent) >= len(trace.checksums):
        return 0, 0
    speaking = (number for number, packet in enumerate(trace.packets) if packet.pictures)
    second = next(islice(speaking, 1, None), len(trace.packets))
    opening = sum(number < second for number in silent)
    # Of two pictures in the last packet but one, the decoder gives one the number of the last.
    packed = codec == "mpeg4" and any(packet.size <= _PLACEHOLDER for packet in trace.packets)
    return opening, len(silent) - opening - packed


def checksum(frame: VideoFrame, reformatter: VideoReformatter) -> int:
    """Digest a frame's brightness and colour, on a grid of pixels where the frame is large."""
    seen = reformatter.reformat(
        frame,
        width=min(frame.width, 256),
        height=min(frame.height, 256),
        format="yuv444p",
        interpolation=Interpolation.POINT,
        threads=1,
    )
    return zlib.crc32(seen.to_ndarray().tobytes())
