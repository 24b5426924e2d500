"""Frames of video files, by number.

Frame k is always the k-th frame that decodes when decoding starts at the beginning of the file.
Timestamps and indexes of real files are often wrong, so reading jumps only to seek points that
`vidssl_cli.media.probe` has compared with a decode from the start.

What does not decode, and frames that the decoder marks as damaged, are left out and not counted.
For a video whose row has no ``problems`` they are an error: the scan met nothing of the kind.

Pictures are upright: rotation and mirroring that the file asks for are applied. The sample aspect
ratio is not: width and height count stored pixels, as the field's protocols do.

Any number of threads may read at once, each call opens its own file. A thread per file uses
several cores, because decoding releases the interpreter lock. Nothing may change av's log level:
doing so can deadlock with a decoder's own threads.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, groupby, islice, pairwise
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.media.open_file import opened
from vidssl_cli.media.packed import read_packed
from vidssl_cli.media.scale import Scaler, target_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

LeaveOut = Callable[[str], None]
"""Is told the kind of each thing that is left out of a video's frames."""
INCOMPLETE = "incomplete packets"
UNDECODABLE = "undecodable packets"
DAMAGED = "damaged frames"
STOPPED = "reading stops"

WORTH_A_SEEK = 8
"""Frames between seek points, and how far ahead one must be to be worth a jump."""
_LEADING = 16
"""Frames that may come out before the keyframe that was sought (open groups of pictures)."""


def read_frames(
    video: Video, frames: Sequence[int], resize: tuple[int, int] | int
) -> NDArray[np.uint8]:
    """Decode the given frames of a video in one pass, as interleaved pictures.

    Like `read_planes`, but returns (T, H, W, 3).
    """
    return np.ascontiguousarray(read_planes(video, frames, resize).transpose(0, 2, 3, 1))


def read_planes(
    video: Video, frames: Sequence[int], resize: tuple[int, int] | int
) -> NDArray[np.uint8]:
    """Decode the given frames of a video in one pass, as planes of red, green and blue.

    Planes are what the decoder scales fastest and what `vidssl_cli.data.augment` works on.

    Args:
        video: where the file is; its seek points, where known, save decoding what is between.
            A packed video's pictures are read from the packed set instead.
        frames: (T,) frame numbers from 0, ascending, each once.
        resize: (height, width) of the result, or the length of its short side.

    Returns:
        (T, 3, H, W) red, green and blue from 0 to 255.

    Raises:
        MediaError: a frame cannot be had.
        UsageError: a packed video's pictures are smaller than what is asked for.
        DamagedFileError: a packed set is damaged.
    """
    if not len(frames) or any(after <= before for before, after in pairwise(frames)):
        raise ValueError(f"frames must be ascending, each once, not {frames}")
    if video.packed:
        return read_packed(video, frames, resize)
    pictures: NDArray[np.uint8] | None = None
    for row, picture in enumerate(stream_planes(video, frames, resize)):
        if pictures is None:
            pictures = np.empty((len(frames), *picture.shape), np.uint8)
        pictures[row] = picture
    assert pictures is not None
    return pictures


def stream_planes(
    video: Video, frames: Sequence[int], resize: tuple[int, int] | int
) -> Iterator[NDArray[np.uint8]]:
    """Decode like `read_planes` from the video's own file, one (3, H, W) picture at a time.

    Every picture is overwritten by the next.
    """
    scaler = Scaler()
    picture: NDArray[np.uint8] | None = None
    for run in _runs(video, frames):
        with opened(video.path, video.bytes, video.track) as (container, stream):
            for frame in _pick(video, container, stream, run):
                if picture is None:
                    # Of the video, not of this frame: the size of frames may change on the way.
                    height, width = video.height, video.width
                    shown = (height, width) if height and width else shown_size(frame)
                    picture = np.empty((3, *target_size(resize, shown)), np.uint8)
                    # For the first frame only: one whose side data was looked at is part of a
                    # reference cycle, and keeps its memory until garbage is collected.
                    stored = _stored(picture, frame)
                scaler.draw(frame, stored)
                yield picture


def _runs(video: Video, frames: Sequence[int]) -> list[Sequence[int]]:
    """Split frame numbers into those that are read from a file without opening it again.

    What a decoder gives after damage depends on all that it met before, so each frame of a video
    with problems is reached in one way only: from the seek point before it, in a file opened
    afresh, as the scan did.
    """
    if not video.problems:
        return [frames]
    starts = [number for number, _ in video.keyframes]
    return [list(run) for _, run in groupby(frames, lambda n: bisect.bisect_right(starts, n))]


def packets(container: InputContainer, *streams: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yield the packets of streams, then empty ones after which decoders put out what they hold."""
    # PyAV frees what it reads into where this ends or is closed, but not where it is just left.
    with closing(container.demux(streams)) as found:  # type: ignore[type-var]
        yield from found


def good_frames(
    container: InputContainer,
    stream: VideoStream,
    found: Iterable[Packet[VideoStream]],
    leave_out: LeaveOut,
) -> Iterator[VideoFrame]:
    """Decode packets, and leave out what does not decode and what the decoder marks as damaged.

    Args:
        container: where the packets come from.
        stream: of which they are.
        found: the packets, the last of them empty.
        leave_out: is told of everything that is left out, and may raise.
    """
    # A packet of which the end is missing; in an MPEG stream, any packet after a gap in the count.
    counts_gaps = container.format.name == "mpegts"
    try:
        for packet in found:
            if packet.is_corrupt:
                leave_out(INCOMPLETE)
                if not counts_gaps:
                    continue
            yield from _unmarked(packet.decode, leave_out)
    except av.error.InvalidDataError:  # of reading; those of decoding are caught
        leave_out(STOPPED)
        yield from _unmarked(stream.decode, leave_out)


def _unmarked(
    decode: Callable[[], Sequence[VideoFrame]], leave_out: LeaveOut
) -> Iterator[VideoFrame]:
    try:
        frames = decode()
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):  # of the machine, not of the file
            raise
        leave_out(UNDECODABLE)
        return
    for frame in frames:
        if frame.is_corrupt:
            leave_out(DAMAGED)
        else:
            yield frame


def decode_from(
    container: InputContainer, stream: VideoStream, timestamp: int, leave_out: LeaveOut
) -> Iterator[VideoFrame]:
    """Seek, and decode from the frame with this timestamp on."""
    container.seek(timestamp, stream=stream)
    reached = False
    before: list[str] = []  # what comes out before the place may need frames from before it

    def leave_out_later(kind: str) -> None:
        (leave_out if reached else before.append)(kind)

    decoded = good_frames(container, stream, packets(container, stream), leave_out_later)
    for frame in islice(decoded, _LEADING):
        if frame.pts == timestamp:
            reached = True
            return chain((frame,), decoded)
    for kind in before:
        leave_out(kind)
    raise MediaError(
        f"has no keyframe at {timestamp}, so it is not the file that was scanned; scan it again",
        where=container.name,
    )


def _pick(
    video: Video, container: InputContainer, stream: VideoStream, numbers: Sequence[int]
) -> Iterator[VideoFrame]:
    """Decode forwards, jumping to seek points where that saves something."""
    upcoming = 0  # the number of the frame that comes out next

    def refuse(kind: str) -> None:
        raise MediaError(
            f"is damaged at frame {upcoming} ({kind}), and was not when it was scanned",
            where=video.path,
        )

    leave_out = refuse if video.frames and not video.problems else ignore
    decoded = good_frames(container, stream, packets(container, stream), leave_out)
    starts = [number for number, _ in video.keyframes]
    for number in numbers:
        point = bisect.bisect_right(starts, number) - 1
        if point >= 0 and starts[point] - upcoming >= WORTH_A_SEEK:
            upcoming, timestamp = video.keyframes[point]
            decoded = decode_from(container, stream, timestamp, leave_out)
        while True:
            frame = next(decoded, None)
            if frame is None:
                said = f"; its manifest says {video.frames} frames" if video.frames else ""
                raise MediaError(f"ends before frame {number}{said}", where=video.path)
            upcoming += 1
            if upcoming > number:
                break
        yield frame


def ignore(kind: str) -> None:
    """Leave something out that a scan has named."""


def shown_size(frame: VideoFrame) -> tuple[int, int]:
    """Return height and width after rotation."""
    transposed, _, _ = _orientation(frame)
    return (frame.width, frame.height) if transposed else (frame.height, frame.width)


def _stored(picture: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """Return a view of an upright picture (3, H, W) in the orientation of the stored frame."""
    transposed, flip_x, flip_y = _orientation(frame)
    picture = picture[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return picture.transpose(0, 2, 1) if transposed else picture


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether to transpose a stored picture, then to flip it along x and along y.

    A display matrix moves the stored point (x, y) to (a x + c y, b x + d y); here it is rounded
    to the nearest of the eight turns and mirrorings.
    """
    try:
        side_data: Any = frame.side_data  # the stub knows of motion vectors only
    except ValueError:  # some is of a kind that PyAV does not know, such as Exif or a second view
        angle = math.radians(-frame.rotation)
        a, b, c, d = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    else:
        matrix = side_data.get(SideData.DISPLAYMATRIX)
        if matrix is None:
            return False, False, False
        a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    if abs(a) >= abs(b):
        return False, a < 0, d < 0
    return True, c < 0, b < 0
