"""The facts of a video file, found by decoding all of it once.

Headers miscount and timestamps may be out of order, so neither is believed: every frame is decoded
and counted, and a keyframe becomes a seek point only when a seek to it was seen to give the same
pictures as decoding from the start.

A file is whole, or usable with problems that its row names, or unreadable.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import av
from av.video.reformatter import VideoReformatter
from pydantic import ValidationError

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video, row_type
from vidssl_cli.media.containers import check_container
from vidssl_cli.media.decode import WORTH_A_SEEK, LeaveOut, decode_from, ignore, packets
from vidssl_cli.media.limits import FRAMES, HOURS, limit, raised_by
from vidssl_cli.media.open_file import ends_digest, opened, stamp, tracks
from vidssl_cli.media.timeline import read_timeline
from vidssl_cli.media.trace import (
    Trace,
    checksum,
    decode_all,
    listed_packets,
    missing,
    refuse_little,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

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


def _read(path: str, track: int | None = None) -> tuple[Video, Trace]:
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
        trace = decode_all(path, container, stream)
        listed = listed_packets(container, stream, table)
        refuse_little(path, trace, listed)
        tick, rate = float(stream.time_base or 1), float(stream.average_rate or 0)
        timeline = read_timeline(trace.timestamps, tick, rate)
        problems = [broken, *missing(container, stream, trace, listed), timeline.problem]
        if container.streams.audio and len(trace.packets) == 1 and not any(problems):
            raise MediaError("is sound with a cover picture, not a video", where=path)
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
    """Refuse facts that no manifest may hold, so that no reader has to."""
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
            if packet.size:  # empty ones say 0, whichever stream they end
                sizes[packet.stream_index] += 1
            if max(sizes.values()) > most:
                break
    return max(sizes, key=lambda index: (sizes[index], index == stream.index))


def _seek_points(facts: Video, trace: Trace) -> tuple[tuple[int, int], ...]:
    """Try to seek to the keyframes; return (number, timestamp) of those that give the pictures.

    Works on a file opened afresh and from the end to the beginning: some formats learn where
    keyframes are while they are read, and a later reader will not have read that far. A seek that
    failed may have read further, so after it the file is opened again.

    What follows a keyframe does not depend on what comes before it, so a few frames tell whether a
    seek found it. Where something is missing that is not sure: there the file is opened afresh for
    each keyframe, as readers do, and all frames up to the next seek point are compared. An MP4 in
    fragments is opened afresh too: where it seeks to depends on which fragments it has met.
    """
    points: list[tuple[int, int]] = []
    pending = [n for n in _thinned(trace.keyframes) if trace.timestamps[n] is not None]
    end = total = len(trace.checksums)
    left = _MOST_COMPARED * total
    while pending and left > 0:
        with opened(facts.path, track=facts.track) as (container, stream):
            fragmented = "mp4" in container.format.name and not stream.frames
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
                if facts.problems or fragmented:
                    break
    return tuple(reversed(points))


def _is_reached(
    container: InputContainer,
    stream: VideoStream,
    trace: Trace,
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
            if checksum(frame, reformatter) != trace.checksums[number]:
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
