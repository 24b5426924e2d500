"""Frames of video files, by number.

Frame k is always the k-th frame that decodes when decoding starts at the beginning of the file.
Timestamps and indexes of real files lie, so reading jumps only to seek points that
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
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain, groupby, islice, pairwise
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition

from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.contract.videos import Video
from vidssl_cli.media.limits import PIXELS, decoder_limit, limit, raised_by
from vidssl_cli.media.packed import read_packed
from vidssl_cli.media.scale import Scaler, target_size

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

FORMATS = (
    "asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,"
    "rm,webm,wtv"
)
"""Containers that are read; above all no playlists, which point to other files."""

LeaveOut = Callable[[str], None]
"""Is told the kind of each thing that is left out of a video's frames."""
INCOMPLETE = "incomplete packets"
UNDECODABLE = "undecodable packets"
DAMAGED = "damaged frames"
STOPPED = "reading stops"

WORTH_A_SEEK = 8
"""Frames between seek points, and how far ahead one must be to be worth a jump."""
_BARE_JPEGS = (".mjpeg", ".mjpg")
"""Names of JPEGs one after the other; FFmpeg takes the first ones for a still picture."""
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<?xml", b"<MPD")
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
        video: where the file is; its seek points, where known, spare decoding what lies between.
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
                    picture = np.empty((3, *target_size(resize, shown_size(frame))), np.uint8)
                    # For the first frame only: one whose side data was looked at is part of a
                    # reference cycle, and keeps its pictures until the collector comes by.
                    lying = _stored(picture, frame)
                scaler.draw(frame, lying)
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


@contextmanager
def opened(
    path: str, size: int | None = None, track: int | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video stream of a file; whatever goes wrong inside comes out as MediaError.

    Args:
        path: the file.
        size: bytes that it had when it was scanned, if that is known.
        track: number of the stream among all of the file; None takes the one FFmpeg prefers.
    """
    _refuse_special(path, size)
    pixels = limit(PIXELS)
    try:
        with av.open(
            os.path.abspath(path),  # a bare name like `concat:a.mp4` would be taken for a protocol
            "r",
            metadata_errors="surrogateescape",  # tags that are not UTF-8 are common in old avi
            format="mjpeg" if path.lower().endswith(_BARE_JPEGS) else None,
            options={"format_whitelist": FORMATS},
        ) as container:
            stream = _track(path, container, track)
            if stream.codec_context is None:
                raise MediaError("has pictures in a format that FFmpeg does not know", where=path)
            if stream.width * stream.height > pixels:
                raise MediaError(
                    f"has pictures of {stream.width}x{stream.height} pixels, {raised_by(PIXELS)}",
                    where=path,
                )
            # Frame threads hide damage, and threads across files are faster than within one.
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            options = {"max_pixels": str(decoder_limit(pixels))}
            if stream.codec_context.name == "mjpeg":
                options["err_detect"] = "explode"  # or a part shows what was in memory before
            stream.codec_context.options = options
            yield container, stream
    except VidsslError:
        raise
    except Exception as error:  # av raises half a dozen families, MemoryError among them
        raise MediaError(_reason(path, error), where=path) from error


def tracks(container: InputContainer) -> list[VideoStream]:
    """Return the video streams, without attached pictures such as the cover of an album."""
    return [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]


def _track(path: str, container: InputContainer, number: int | None) -> VideoStream:
    """Return a stream by its number, or the one that FFmpeg prefers."""
    found = tracks(container)
    if not found:
        cover = ", only a still picture that is attached" if container.streams.video else ""
        raise MediaError(f"has no video stream{cover}", where=path)
    if number is not None:
        stream = next((stream for stream in found if stream.index == number), None)
        if stream is None:
            raise MediaError(f"has no video stream {number}; scan it again", where=path)
        return stream
    best = container.streams.best("video")
    return best if isinstance(best, av.VideoStream) and best in found else found[0]


def stamp(path: str) -> tuple[int, int]:
    """Return a file's size in bytes and the time of its last change in nanoseconds.

    Raises:
        MediaError: it is not there, or nothing that may be read like a file.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise MediaError(_reason(path, error), where=path) from error
    for is_kind, name in _SPECIAL.items():
        if is_kind(status.st_mode):
            raise MediaError(f"is {name}, not a regular file", where=path)
    return status.st_size, status.st_mtime_ns


def ends_digest(path: str) -> str:
    """Return the SHA-256 of a file's first and last 4 KiB."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(_END)
        file.seek(max(0, os.fstat(file.fileno()).st_size - _END))
        return hashlib.sha256(head + file.read(_END)).hexdigest()


_END = 1 << 12
"""Bytes at either end of a file by which it is known again."""

_SPECIAL: dict[Callable[[int], bool], str] = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def _refuse_special(path: str, scanned: int | None) -> None:
    """Refuse what would hang or mislead a reader before it is opened."""
    size, _ = stamp(path)
    if size == 0:
        raise MediaError("is empty", where=path)
    if scanned not in (None, size):
        raise MediaError(
            f"has {size} bytes, but had {scanned} when it was scanned; scan it again", where=path
        )


def _reason(path: str, error: Exception) -> str:
    """Say in people's words why a file could not be read."""
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        with open(path, "rb") as file:
            head = file.read(64)
        if head.startswith(b"version https://git-lfs"):
            return "is a Git LFS pointer, not the video itself; `git lfs pull` fetches that"
        if head.startswith(b"\x00\x05\x16\x07"):
            return "is a macOS `._` resource file, not a video"
        if head.lstrip().startswith(_PLAYLISTS):
            return "is a playlist, which points to other files; name those"
        for start, kind in _PICTURES.items():
            if head.startswith(start):
                return f"is a still picture ({kind}), not a video"
        if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
            return "is a picture (WebP), not a video"
        return f"is damaged, or no video of a known format ({error.strerror})"
    if "://" in path:
        return "is a URL; download the file and name that"
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"cannot be read: {told}"


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
        if isinstance(error, OSError | MemoryError):  # of the machine, not of the file
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
    before: list[str] = []  # which may need frames that lie before the place

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
    """Return a view of an upright picture (3, H, W) that lies as the frame is stored."""
    transposed, flip_x, flip_y = _orientation(frame)
    picture = picture[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
    return picture.transpose(0, 2, 1) if transposed else picture


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """Return whether to transpose a stored picture, then to flip it along x and along y.

    A display matrix moves the stored point (x, y) to (a x + c y, b x + d y); here it is rounded
    to the nearest of the eight turns and mirrorings.
    """
    side_data: Any = frame.side_data  # the stub knows of motion vectors only
    matrix = side_data.get(SideData.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(matrix, np.int32).tolist()
    if abs(a) >= abs(b):
        return False, a < 0, d < 0
    return True, c < 0, b < 0
