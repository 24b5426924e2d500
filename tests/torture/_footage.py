"""Small videos in many containers and codecs, and ways to damage them; the same on every run."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

os.environ.setdefault("SVT_LOG", "1")  # its encoder would tell of every setting

FRAMES = 40
FPS = 25
SIZE = (48, 64)
"""Height and width."""


@dataclass(frozen=True)
class Kind:
    """A container with a codec in it."""

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    sound: str | None = None
    """Codec of a sound track beside the pictures."""


_VPX = {"g": "10", "cpu-used": "8", "deadline": "realtime"}
_AHEAD = {"g": "10", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "8"}
_SVT = {"preset": "12", "g": "10", "svtav1-params": "lp=1"}
_HEVC = {"x265-params": "keyint=10:log-level=none:pools=none:frame-threads=1"}

KINDS = {
    "mp4 h264": Kind(".mp4", "libx264", {"g": "10", "bf": "2"}),
    "mp4 h264 sound": Kind(".mp4", "libx264", {"g": "10"}, {"movflags": "faststart"}, sound="aac"),
    "mp4 h264 fragments": Kind(
        ".mp4", "libx264", {"g": "10"}, {"movflags": "frag_keyframe+empty_moov"}
    ),
    "mp4 hevc": Kind(".mp4", "libx265", _HEVC),
    "mp4 av1": Kind(".mp4", "libsvtav1", _SVT),
    "mov h264": Kind(".mov", "libx264", {"g": "10", "bf": "0"}, sound="pcm_s16le"),
    "mov mjpeg": Kind(".mov", "mjpeg", pixels="yuvj420p"),
    "mov prores": Kind(".mov", "prores_ks", pixels="yuv422p10le"),
    "avi mpeg4": Kind(".avi", "mpeg4", {"g": "10", "bf": "2"}),
    "avi mpeg4 sound": Kind(".avi", "mpeg4", {"g": "10"}, sound="libmp3lame"),
    "avi mjpeg": Kind(".avi", "mjpeg", pixels="yuvj420p"),
    "avi msmpeg4": Kind(".avi", "msmpeg4v2", {"g": "10"}),
    "webm vp8": Kind(".webm", "libvpx", _AHEAD),
    "webm vp9": Kind(".webm", "libvpx-vp9", _VPX),
    "webm vp9 sound": Kind(".webm", "libvpx-vp9", _AHEAD, sound="libopus"),
    "webm av1": Kind(".webm", "libsvtav1", _SVT),
    "mkv h264": Kind(".mkv", "libx264", {"g": "10", "bf": "2"}, sound="aac"),
    "mkv mpeg4": Kind(".mkv", "mpeg4", {"g": "10"}),
    "mkv ffv1": Kind(".mkv", "ffv1", {"g": "10", "slicecrc": "1", "level": "3"}),
    "mkv mpeg2": Kind(".mkv", "mpeg2video", {"g": "10", "bf": "2"}),
    "ogv vp8 sound": Kind(".ogv", "libvpx", _VPX, sound="libopus"),
    "mxf mpeg2": Kind(".mxf", "mpeg2video", {"g": "10", "bf": "2"}),
    "flv h264 sound": Kind(".flv", "libx264", {"g": "10"}, sound="aac"),
    "wmv wmv2": Kind(".wmv", "wmv2", {"g": "10"}),
    "gif": Kind(".gif", "gif", pixels="rgb8"),
}


def write(path: Path, kind: Kind, seed: int = 0, frames: int = FRAMES) -> None:
    """Write a video of a drifting texture, so that every part of a picture matters."""
    height, width = SIZE
    texture = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    texture = texture.repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w", options=kind.container) as container:
        stream = container.add_stream(kind.codec, FPS, options=kind.options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = SIZE
        stream.pix_fmt = kind.pixels
        stream.thread_count = 1
        sound = container.add_stream(kind.sound, 48_000) if kind.sound else None
        if isinstance(sound, av.AudioStream):
            sound.layout = "mono"
        for number in range(frames):
            picture = np.roll(texture, (number, 2 * number), (0, 1))
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if isinstance(sound, av.AudioStream):
            _add_silence(container, sound, frames)


def _add_silence(
    container: av.container.OutputContainer, stream: av.AudioStream, frames: int
) -> None:
    """Add a sound track as long as the pictures."""
    piece = stream.rate // FPS
    form = stream.format.name
    resampler = av.AudioResampler(form, "mono", stream.rate, stream.frame_size or piece)
    for number in range(frames):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, piece), np.int16), "s16", "mono")
        frame.rate, frame.pts = stream.rate, number * piece
        for part in resampler.resample(frame):
            container.mux(stream.encode(part))
    container.mux(stream.encode())


Damage = Callable[[bytearray, random.Random], bytearray]


def _span(content: bytearray, draw: random.Random) -> slice:
    """Choose a part of a file, small ones as likely as large ones."""
    size = min(int(2 ** draw.uniform(0, math.log2(len(content)))), len(content))
    start = draw.randrange(len(content) - size + 1)
    return slice(start, start + size)


def flip_bits(content: bytearray, draw: random.Random) -> bytearray:
    """Flip from one to 64 bits anywhere."""
    for _ in range(2 ** draw.randrange(7)):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return content


def flip_header(content: bytearray, draw: random.Random) -> bytearray:
    """Flip a few bits of the first or last kilobyte, where containers keep their tables."""
    reach = min(1024, len(content))
    for _ in range(draw.randrange(1, 5)):
        place = draw.randrange(reach)
        content[place if draw.random() < 0.5 else -1 - place] ^= 1 << draw.randrange(8)
    return content


def truncate(content: bytearray, draw: random.Random) -> bytearray:
    """Cut off the end."""
    return content[: draw.randrange(len(content))]


def behead(content: bytearray, draw: random.Random) -> bytearray:
    """Cut off the beginning."""
    return content[_span(content, draw).stop % len(content) :]


def zero(content: bytearray, draw: random.Random) -> bytearray:
    """Set a part to zeros, as a hole in a download leaves it."""
    part = _span(content, draw)
    content[part] = bytes(part.stop - part.start)
    return content


def randomise(content: bytearray, draw: random.Random) -> bytearray:
    """Set a part to noise."""
    part = _span(content, draw)
    content[part] = draw.randbytes(part.stop - part.start)
    return content


def swap(content: bytearray, draw: random.Random) -> bytearray:
    """Exchange two parts of equal size."""
    size = draw.randrange(1, max(2, len(content) // 4))
    first = draw.randrange(max(1, len(content) - 2 * size))
    second = draw.randrange(first + size, len(content) - size + 1)
    one, other = slice(first, first + size), slice(second, second + size)
    content[one], content[other] = content[other], content[one]
    return content


def drop(content: bytearray, draw: random.Random) -> bytearray:
    """Leave out a part."""
    del content[_span(content, draw)]
    return content


def repeat(content: bytearray, draw: random.Random) -> bytearray:
    """Write a part twice."""
    part = _span(content, draw)
    content[part.start : part.start] = content[part]
    return content


DAMAGE: tuple[Damage, ...] = (
    flip_bits, flip_header, truncate, zero, randomise, swap, drop, repeat, behead
)  # fmt: skip
