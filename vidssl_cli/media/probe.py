"""The facts of a video file, found by decoding all of it once.

Headers miscount and timestamps may be out of order, so neither is believed: every frame is decoded
and counted, and a keyframe becomes a seek point only when a seek to it was seen to give the same
pictures as decoding from the start.

A file that is damaged anywhere, as far as container and decoder can tell, has no facts: what is
left of it is not the video that it was. Decoders pass over much of that in silence.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from statistics import median
from typing import TYPE_CHECKING

import av
from av.video.reformatter import Interpolation, VideoReformatter

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.media.containers import check_container
from vidssl_cli.media.decode import (
    WORTH_A_SEEK,
    decode_from,
    opened,
    packets,
    shown_size,
    stamp,
    undamaged,
)
from vidssl_cli.media.limits import FRAMES, HOURS, limit, raised_by

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_ONE_EACH = ("avi", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2")
"""Containers whose pieces are frames."""

_CHECKED = 8
"""Frames that must agree after a seek for it to become a seek point."""


def probe(path: str) -> Video:
    """Decode a whole file and return its facts.

    Raises:
        MediaError: the file is not a video, or not all of it decodes.
    """
    before = stamp(path)
    with opened(path) as (container, stream):
        declared = stream.frames
        most = limit(FRAMES)
        if declared > most:
            raise MediaError(f"declares {declared} frames, {raised_by(FRAMES)}", where=path)
        # Sound has up to four blocks where pictures have one.
        blocks = most if len(container.streams) == 1 else 5 * most
        form = container.format.name
        table = check_container(
            path,
            form,
            stream=stream.index,
            streams=len(container.streams),
            fragmented=not declared,
            most=blocks,
        )
        trace = _decode_all(path, container, stream)
        _refuse_short(path, container, stream, trace, table)
        tick = float(stream.time_base or 1)
        timing = _timing(trace.timestamps)
        fps = _frame_rate(trace.timestamps, tick, timing, float(stream.average_rate or 25))
    duration = len(trace.checksums) / fps
    if duration > 3600 * limit(HOURS):
        raise MediaError(f"lasts {duration / 3600:.1f} hours, {raised_by(HOURS)}", where=path)
    keyframes = _seek_points(path, trace)
    if stamp(path) != before:
        raise MediaError("changed while it was scanned", where=path)
    return Video(
        path=path,
        frames=len(trace.checksums),
        fps=fps,
        width=trace.width,
        height=trace.height,
        duration=duration,
        declared=declared or None,
        bytes=before[0],
        timing=timing,
        keyframes=keyframes,
    )


@dataclass
class _Trace:
    """What one decode of a whole file saw, frame by frame."""

    checksums: list[int] = field(default_factory=list)
    timestamps: list[int | None] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    width: int = 0
    height: int = 0
    packets: int = 0
    """Pieces that the file holds of the stream, each of which should give a frame."""
    hidden: int = 0
    """How many of them an edit list keeps from being shown."""
    end: float = 0.0
    """Latest end of a piece, in ticks."""
    interlaced: bool = False


def _decode_all(path: str, container: InputContainer, stream: VideoStream) -> _Trace:
    trace = _Trace()
    reformatter = VideoReformatter()
    most = limit(FRAMES)
    frames = undamaged(_frames(path, container, stream, trace), path)
    try:
        for number, frame in enumerate(frames):
            if number == 0:
                trace.height, trace.width = shown_size(frame)
            if number == most:
                raise MediaError(
                    f"has {number + 1} frames or more, {raised_by(FRAMES)}", where=path
                )
            trace.checksums.append(_checksum(frame, reformatter))
            trace.timestamps.append(frame.pts)
            trace.interlaced |= frame.interlaced_frame
            if frame.key_frame:
                trace.keyframes.append(number)
    except av.FFmpegError as error:
        of = f" of {stream.frames}" if stream.frames else ""
        raise MediaError(
            f"is damaged: decoding stops after {len(trace.checksums)}{of} frames"
            f" ({error.strerror})",
            where=path,
        ) from error
    if not trace.checksums:
        raise MediaError("holds no frame that decodes", where=path)
    return trace


def _frames(
    path: str, container: InputContainer, stream: VideoStream, trace: _Trace
) -> Iterator[VideoFrame]:
    """Decode, and keep account of what the file holds."""
    for packet in packets(container, stream):
        if packet.size:
            if packet.is_corrupt:
                raise MediaError(f"is cut short within frame {trace.packets}", where=path)
            trace.packets += 1
            trace.hidden += packet.is_discard
            if packet.pts is not None and not packet.is_discard:
                trace.end = max(trace.end, packet.pts + (packet.duration or 0))
        yield from packet.decode()


def _refuse_short(
    path: str, container: InputContainer, stream: VideoStream, trace: _Trace, table: int | None
) -> None:
    """Compare what was decoded with what the file says that it holds."""
    form = container.format.name
    is_mp4 = "mp4" in form
    # The table of an mp4 knows of edit lists, and that of an avi of frames that were dropped, which
    # their headers do not. The table of an avi may be missing, and FFmpeg's own have headers that
    # count one too many where there is sound.
    known = is_mp4 or table is not None
    declared = 0 if known else stream.frames - (len(container.streams) > 1)
    listed = max(len(stream.index_entries), declared, table or 0)
    if trace.packets < listed:
        raise MediaError(
            f"is damaged: ends after {trace.packets} of {listed} frames that it lists", where=path
        )
    if is_mp4 and stream.duration and stream.frames:
        part = (trace.end - (stream.start_time or 0)) / stream.duration
        if part < 1 - 1.5 / trace.packets or part > 1.5:
            raise MediaError(
                f"is damaged: its frames take {part:.0%} of the time that it declares", where=path
            )
    # Two packets may be two fields of a frame; VP8 and VP9 have frames that are never shown; and
    # mpeg4 whose frames were packed in pairs for avi (DivX, XviD) loses the last one.
    if form not in _ONE_EACH or trace.interlaced or stream.codec_context.name in ("vp8", "vp9"):
        return
    lost = trace.packets - trace.hidden - len(trace.checksums)
    if lost > (stream.codec_context.name == "mpeg4"):
        raise MediaError(
            f"is damaged: {lost} of its {trace.packets} frames do not decode", where=path
        )


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


def _timing(timestamps: Sequence[int | None]) -> str:
    """Describe timestamps; see Video.timing."""
    known = [timestamp for timestamp in timestamps if timestamp is not None]
    if len(known) < len(timestamps):
        return "missing"
    steps = [after - before for before, after in pairwise(known)]
    if any(step <= 0 for step in steps):
        return "out of order"
    # Containers round to their tick, so that a steady 30 fps may step 33, 34, 33 milliseconds.
    usual = median(steps) if steps else 0
    if any(abs(step - usual) > max(1, usual / 4) for step in steps):
        return "variable"
    return "steady"


def _frame_rate(
    timestamps: Sequence[int | None], tick: float, timing: str, declared: float
) -> float:
    """Frames per second: the declared rate unless usable timestamps contradict it."""
    first, last = timestamps[0], timestamps[-1]
    if timing not in ("steady", "variable") or first is None or last is None or first == last:
        return declared
    measured = (len(timestamps) - 1) / ((last - first) * tick)
    return declared if abs(measured - declared) <= 0.02 * declared else measured


def _seek_points(path: str, trace: _Trace) -> tuple[tuple[int, int], ...]:
    """Try to seek to the keyframes; return (number, timestamp) of those that give the pictures.

    Works on a file opened afresh and from the end to the beginning: some formats learn where
    keyframes are while they are read, and a later reader will not have read that far. A seek that
    failed may have read further, so after it the file is opened again.
    """
    points: list[tuple[int, int]] = []
    reformatter = VideoReformatter()
    pending = _thinned(trace.keyframes)
    while pending:
        with opened(path) as (container, stream):
            while pending:
                number = pending.pop()
                timestamp = trace.timestamps[number]
                if timestamp is None:
                    continue
                seen = slice(number, number + _CHECKED)
                try:
                    frames = undamaged(decode_from(container, stream, timestamp), path, number)
                    run = islice(frames, _CHECKED)
                    found = [(frame.pts, _checksum(frame, reformatter)) for frame in run]
                except (MediaError, av.FFmpegError):
                    break  # not a place to seek to; reading starts further ahead
                if found != list(zip(trace.timestamps[seen], trace.checksums[seen], strict=True)):
                    break
                points.append((number, timestamp))
    return tuple(reversed(points))


def _thinned(keyframes: Sequence[int]) -> list[int]:
    """Leave out keyframes that are too close to the one before to be worth a seek."""
    kept = [0]
    for number in keyframes:
        if number - kept[-1] >= WORTH_A_SEEK:
            kept.append(number)
    return kept[1:]
