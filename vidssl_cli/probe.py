"""The facts of a video file, found by decoding all of it once.

Headers miscount and timestamps may be out of order, so neither is believed: every frame is decoded
and counted, and a keyframe becomes a seek point only when a seek to it was seen to give the same
pictures as decoding from the start.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice, pairwise
from statistics import median
from typing import TYPE_CHECKING

import av
from av.video.reformatter import Interpolation, VideoReformatter

from vidssl_cli.decode import WORTH_A_SEEK, decode_from, opened, shown_size
from vidssl_cli.errors import MediaError
from vidssl_cli.videos import Video

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_FRAMES = 500_000
"""Longest video that is taken: five hours and a half at 25 frames per second."""

_CHECKED = 8
"""Frames that must agree after a seek for it to become a seek point."""


def probe(path: str) -> Video:
    """Decode a whole file and return its facts.

    Raises:
        MediaError: the file is not a video, or not all of it decodes.
    """
    with opened(path) as (container, stream):
        declared = stream.frames
        if declared > MAX_FRAMES:
            raise MediaError(f"declares {declared} frames, more than {MAX_FRAMES}", where=path)
        trace = _decode_all(path, container, stream)
        tick = float(stream.time_base or 1)
        timing = _timing(trace.timestamps)
        fps = _frame_rate(trace.timestamps, tick, timing, float(stream.average_rate or 25))
    return Video(
        path=path,
        frames=len(trace.checksums),
        fps=fps,
        width=trace.width,
        height=trace.height,
        duration=len(trace.checksums) / fps,
        declared=declared or None,
        timing=timing,
        keyframes=_seek_points(path, trace),
    )


@dataclass
class _Trace:
    """What one decode of a whole file saw, frame by frame."""

    checksums: list[int] = field(default_factory=list)
    timestamps: list[int | None] = field(default_factory=list)
    keyframes: list[int] = field(default_factory=list)
    width: int = 0
    height: int = 0


def _decode_all(path: str, container: InputContainer, stream: VideoStream) -> _Trace:
    trace = _Trace()
    reformatter = VideoReformatter()
    try:
        for number, frame in enumerate(container.decode(stream)):
            if number == 0:
                trace.height, trace.width = shown_size(frame)
            if number == MAX_FRAMES:
                raise MediaError(f"has more than {MAX_FRAMES} frames", where=path)
            trace.checksums.append(_checksum(frame, reformatter))
            trace.timestamps.append(frame.pts)
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
    keyframes are while they are read, and a later reader will not have read that far.
    """
    points: list[tuple[int, int]] = []
    reformatter = VideoReformatter()
    with opened(path) as (container, stream):
        for number in reversed(_thinned(trace.keyframes)):
            timestamp = trace.timestamps[number]
            if timestamp is None:
                continue
            seen = slice(number, number + _CHECKED)
            try:
                run = islice(decode_from(container, stream, timestamp), _CHECKED)
                found = [(frame.pts, _checksum(frame, reformatter)) for frame in run]
            except (MediaError, av.FFmpegError):
                continue  # not a place to seek to; reading starts further ahead
            if found == list(zip(trace.timestamps[seen], trace.checksums[seen], strict=True)):
                points.append((number, timestamp))
    return tuple(reversed(points))


def _thinned(keyframes: Sequence[int]) -> list[int]:
    """Leave out keyframes that are too close to the one before to be worth a seek."""
    kept = [0]
    for number in keyframes:
        if number - kept[-1] >= WORTH_A_SEEK:
            kept.append(number)
    return kept[1:]
