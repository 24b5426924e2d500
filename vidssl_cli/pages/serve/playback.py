"""How a video is played in a browser: from its own file, transcoded, or not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidssl_cli.base.errors import MediaError
from vidssl_cli.data.frame_rate import frame_rate, position_at, seconds_at
from vidssl_cli.media.decode import read_planes, stream_planes
from vidssl_cli.media.encode import encode_mp4, encode_webp
from vidssl_cli.media.open_file import opened
from vidssl_cli.pages.moving_pictures import moving_frames, shown_ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Moment, Video

Way = Literal["file", "transcoded", "none"]

PART = 6.0
"""Seconds of a video that are transcoded at a time."""
_HEIGHT, _RATE = 480, 30.0
"""Of what is transcoded: pixels and frames per second, at most."""
_STILL, _QUALITY = 200, 62
"""Of a thumbnail: pixels, and quality from 0 to 100."""
_AT_ONCE = 32
"""Frames of a packed set that are read at once."""

_MP4, _WEBM = "video/mp4", "video/webm"
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": (_MP4, {"h264"}),
    "matroska,webm": (_WEBM, {"vp8", "vp9", "av1"}),
}
"""By FFmpeg's name of a container: its type on the web, and the codecs that browsers play in it."""
_SOUND = {"aac", "mp3", "opus", "vorbis", "flac"}
_COLOURS = {"yuv420p", "yuvj420p"}


@dataclass(frozen=True)
class Playback:
    """How a video is played, and why not in another way."""

    way: Way
    type: str = _MP4
    """Of its file, for a browser."""
    why: str = ""


def playback_of(video: Video) -> Playback:
    """Look into the file of a video; nothing that is no video is ever played from its file."""
    try:
        with opened(video.path, video.bytes, video.track) as (container, stream):
            kind, codecs = _CONTAINERS.get(container.format.name, (_MP4, set()))
            codec = stream.codec_context.codec.canonical_name
            colours = stream.codec_context.pix_fmt
            sound = {track.codec_context.codec.canonical_name for track in container.streams.audio}
            if not codecs:
                why = f"browsers do not play {container.format.long_name}"
            elif codec not in codecs:
                why = f"few browsers play {codec.upper()} in such a file"
            elif colours not in _COLOURS:
                why = f"browsers do not play {codec.upper()} with colours as {colours}"
            elif not sound <= _SOUND:
                why = f"browsers do not play sound as {', '.join(sorted(sound))}"
            elif video.track is not None:
                why = "it is one of several tracks"
            else:
                return Playback("file", kind)
    except MediaError as error:
        if not video.packed:
            return Playback("none", why=str(error))
        why = "shown from the packed set"
    return Playback("transcoded", why=why)


def transcode(video: Video, start: float) -> bytes:
    """Return `PART` seconds of a video, or what is left of it, as a file that browsers play.

    There is no sound in it.

    Raises:
        MediaError: The video cannot be read.
    """
    total = video.frames or 1
    bounds = position_at(video, np.array([start, start + PART]))
    first = min(max(0, int(bounds[0])), total - 1)
    last = min(max(first + 1, ceil(bounds[1])), total)
    numbers = range(first, last, max(1, ceil(frame_rate(video) / _RATE)))
    seconds = seconds_at(video, np.array([*numbers, last]))
    return encode_mp4(_pictures(video, numbers), (seconds - seconds[0]).tolist())


def _pictures(video: Video, numbers: range) -> Iterator[NDArray[np.uint8]]:
    """Yield frames as planes, with an even number of rows and columns."""
    size = _even_size(video)
    if not video.packed:
        return stream_planes(video, numbers, size)
    parts = (numbers[first : first + _AT_ONCE] for first in range(0, len(numbers), _AT_ONCE))
    return chain.from_iterable(read_planes(video, part, size) for part in parts)


def _even_size(video: Video) -> tuple[int, int]:
    height = float(min(_HEIGHT, video.height or _HEIGHT))
    width = height * shown_ratio(video)
    if video.packed:  # more pixels than were packed would show nothing more
        shrink = min(1, video.packed.height / height, video.packed.width / width)
        height, width = height * shrink, width * shrink
    return max(2, int(height / 2) * 2), max(2, int(width / 2) * 2)


def thumbnail(video: Video, second: float) -> bytes:
    """Return a still (WebP) of what a video shows at a second.

    Raises:
        MediaError: The video cannot be read.
    """
    total = video.frames or 1
    number = min(max(0, int(position_at(video, np.array([second]))[0])), total - 1)
    height, width = _even_size(video)
    shrink = min(1, _STILL / height)
    size = max(2, round(height * shrink)), max(2, round(width * shrink))
    frame = read_planes(video, [number], size).transpose(0, 2, 3, 1)
    return encode_webp(np.ascontiguousarray(frame), 25, quality=_QUALITY)


def moving_thumbnail(video: Video, moment: Moment) -> bytes:
    """Return a moving picture (WebP) of a moment of a video.

    Raises:
        MediaError: The video cannot be read.
    """
    return encode_webp(*moving_frames(video, moment, height=_STILL), quality=_QUALITY)
