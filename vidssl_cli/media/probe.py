"""The facts of a video file, found by decoding all of it once.

Headers miscount and timestamps may be out of order, so neither is believed: every frame is decoded
and counted, and a keyframe becomes a seek point only when a seek to it was seen to give the same
pictures as decoding from the start.

A file is whole, or usable with problems that its row names, or unreadable. Decoders and containers
pass over much in silence, so every packet is followed: which gave a picture, and which did not.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING

import av
from av.codec.context import Flags
from av.video.reformatter import Interpolation, VideoReformatter
from pydantic import ValidationError

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video, row_type
from vidssl_cli.media.containers import check_container
from vidssl_cli.media.decode import (
    WORTH_A_SEEK,
    LeaveOut,
    decode_from,
    ends_digest,
    good_frames,
    ignore,
    opened,
    packets,
    shown_size,
    stamp,
    tracks,
)
from vidssl_cli.media.limits import DECODED, FRAMES, HOURS, limit, raised_by
from vidssl_cli.media.timeline import read_timeline

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_ONE_EACH = ("avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
"""Containers whose packets are frames."""

_OPENING = 16
"""Packets without a picture that an open group of pictures may have at the start."""
_PLACEHOLDER = 16
"""Bytes below which a packet of MPEG-4 may stand for no picture: one byte where another packet held
two pictures (DivX, XviD), a head alone where the encoder dropped a picture that stood still."""
_HIDING = ("vp8", "vp9")
"""Codecs with pictures that are never shown."""

_CHECKED = 8
"""Frames that must agree after a seek for it to become a seek point."""
_MOST_COMPARED = 3
"""Frames compared, as a multiple of all, after which no further seek point is looked for."""


def probe(path: str) -> Video:
    """Decode a whole file and return its facts, among them what is missing or odd.

    Raises:
        MediaError: the file is not a video, or too little of it decodes.
    """
    before = stamp(path)
    facts, trace = _read(path)
    facts = replace(
        facts,
        bytes=before[0],
        mtime_ns=before[1],
        ends_sha256=ends_digest(path),
        keyframes=_seek_points(facts, trace),
    )
    if stamp(path) != before:
        raise MediaError("changed while it was scanned", where=path)
    _check(facts)
    return facts


def _read(path: str, track: int | None = None) -> tuple[Video, _Trace]:
    """Decode a video stream, the one with most packets if no other is asked for."""
    most = limit(FRAMES)
    with opened(path, track=track) as (container, stream):
        declared = stream.frames
        if declared > most:
            raise MediaError(f"declares {declared} frames, {raised_by(FRAMES)}", where=path)
        if track is None and len(tracks(container)) > 1:
            return _read(path, _fullest_track(container, stream, most))
        # Sound has up to four blocks where pictures have one.
        blocks = most if len(container.streams) == 1 else 5 * most
        table, broken = check_container(
            path,
            container.format.name,
            stream=stream.index,
            streams=len(container.streams),
            fragmented=not declared,
            most=blocks,
        )
        trace = _decode_all(path, container, stream)
        listed = _listed(container, stream, table)
        _refuse_little(path, trace, listed)
        tick, rate = float(stream.time_base or 1), float(stream.average_rate or 0)
        timeline = read_timeline(trace.timestamps, tick, rate)
        problems = [broken, *_missing(container, stream, trace, listed), timeline.problem]
    hours = timeline.duration / 3600
    if hours > limit(HOURS):
        raise MediaError(f"lasts {hours:.1f} hours, {raised_by(HOURS)}", where=path)
    facts = Video(
        path=path,
        frames=len(trace.checksums),
        fps=timeline.fps,
        width=trace.width,
        height=trace.height,
        duration=timeline.duration,
        declared=declared or None,
        timing=timeline.timing,
        times=timeline.times,
        track=track,
        problems=tuple(problem for problem in problems if problem),
    )
    return facts, trace


def _check(facts: Video) -> None:
    """Refuse facts that no manifest may hold, so that whoever reads them need not."""
    try:
        row_type().validate_python(asdict(facts))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise MediaError(f"{key}: {first['msg']}, not {first['input']}", where=facts.path) from None


def _fullest_track(container: InputContainer, stream: VideoStream, most: int) -> int:
    """Return the number of the video stream with the most packets, which an open file is read for.

    Of several that are as long it is the one that FFmpeg prefers.
    """
    found = tracks(container)
    sizes = dict.fromkeys((track.index for track in found), 0)
    with suppress(av.error.InvalidDataError):
        for packet in packets(container, *found):
            sizes[packet.stream_index] += bool(packet.size)
            if max(sizes.values()) > most:
                break
    return max(sizes, key=lambda index: (sizes[index], index == stream.index))


@dataclass
class _Packet:
    """What became of a piece of the stream."""

    size: int
    shown: bool
    """Whether no edit list hides it."""
    pictures: int = 0


@dataclass
class _Trace:
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


def _decode_all(path: str, container: InputContainer, stream: VideoStream) -> _Trace:
    trace = _Trace()
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
        trace.checksums.append(_checksum(frame, reformatter))
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


def _listed(container: InputContainer, stream: VideoStream, table: int | None) -> int:
    """Return how many packets the file says that it holds."""
    # The table of an mp4 knows of edit lists, and that of an avi of frames that were dropped, which
    # their headers do not. The table of an avi may be missing, and FFmpeg's own have headers that
    # count one too many where there is sound.
    known = "mp4" in container.format.name or table is not None
    declared = 0 if known else stream.frames - (len(container.streams) > 1)
    return max(len(stream.index_entries), declared, table or 0)


def _refuse_little(path: str, trace: _Trace, listed: int) -> None:
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


def _missing(
    container: InputContainer, stream: VideoStream, trace: _Trace, listed: int
) -> Iterator[str]:
    """Yield what does not decode, and what the file says that it holds and does not."""
    total = len(trace.packets)
    for kind, count in trace.left_out.items():
        yield f"{kind}: {count} of {total}"
    if total < listed:
        yield f"end: has {total} of {listed} frames that it lists"
    if "mp4" in container.format.name and stream.duration and stream.frames:
        part = (trace.end - (stream.start_time or 0)) / stream.duration
        if part < 1 - 1.5 / total:
            yield f"end: its frames take {part:.0%} of the time that it declares"
    if container.format.name not in _ONE_EACH:
        return
    opening, silent = _silent(trace, stream.codec_context.name)
    if opening > _OPENING:
        yield f"beginning: {opening} of {total} packets come before the first pictures"
    if (lost := silent - trace.left_out.total()) > 0:
        yield f"packets without a picture: {lost} of {total}"


def _silent(trace: _Trace, codec: str) -> tuple[int, int]:
    """Count the packets that give no picture though they should: at the start, and later.

    At the start, that is before the second picture, they need pictures that are not in the file.
    """
    if codec in _HIDING:
        return 0, 0
    silent = [
        number
        for number, packet in enumerate(trace.packets)
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


def _checksum(frame: VideoFrame, reformatter: VideoReformatter) -> int:
    """Digest a frame's brightness, on a grid of pixels where the frame is large."""
    grey = reformatter.reformat(
        frame,
        width=min(frame.width, 256),
        height=min(frame.height, 256),
        format="gray8",
        interpolation=Interpolation.POINT,
        threads=1,
    )
    return zlib.crc32(grey.to_ndarray().tobytes())


def _seek_points(facts: Video, trace: _Trace) -> tuple[tuple[int, int], ...]:
    """Try to seek to the keyframes; return (number, timestamp) of those that give the pictures.

    Works on a file opened afresh and from the end to the beginning: some formats learn where
    keyframes are while they are read, and a later reader will not have read that far. A seek that
    failed may have read further, so after it the file is opened again.

    What follows a keyframe does not depend on what comes before it, so a few frames tell whether a
    seek found it. Where something is missing that is not sure: there the file is opened afresh for
    each keyframe, as readers do, and all frames up to the next seek point are compared.
    """
    points: list[tuple[int, int]] = []
    pending = [n for n in _thinned(trace.keyframes) if trace.timestamps[n] is not None]
    end = total = len(trace.checksums)
    left = _MOST_COMPARED * total
    while pending and left > 0:
        with opened(facts.path, track=facts.track) as (container, stream):
            found = True
            while pending and found:
                number = pending.pop()
                last = end if facts.problems else min(number + _CHECKED, total)
                left -= last - number
                leave_out = ignore if facts.problems else _refuse
                found = _is_reached(container, stream, trace, range(number, last), leave_out)
                if found:
                    points.append((number, trace.timestamps[number] or 0))
                    end = number
                if facts.problems:
                    break
    return tuple(reversed(points))


def _is_reached(
    container: InputContainer,
    stream: VideoStream,
    trace: _Trace,
    numbers: range,
    leave_out: LeaveOut,
) -> bool:
    """Tell whether a seek to the first of these frames gives all of them."""
    reformatter = VideoReformatter()
    try:
        frames = decode_from(container, stream, trace.timestamps[numbers[0]] or 0, leave_out)
        for number in numbers:
            frame = next(frames)
            if frame.pts != trace.timestamps[number]:
                return False
            if _checksum(frame, reformatter) != trace.checksums[number]:
                return False
    except (MediaError, av.FFmpegError, StopIteration):
        return False
    return True


def _refuse(kind: str) -> None:
    raise MediaError(kind)


def _thinned(keyframes: Sequence[int]) -> list[int]:
    """Leave out keyframes that are too close to the one before to be worth a seek."""
    kept = [0]
    for number in keyframes:
        if number - kept[-1] >= WORTH_A_SEEK:
            kept.append(number)
    return kept[1:]
