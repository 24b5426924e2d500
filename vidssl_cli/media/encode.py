"""Encoding frames as H.264 files, moving pictures and stills."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidssl_cli.files.disk_space import room_for

_TICK = Fraction(1, 90_000)
"""Seconds of a unit of time in files of `encode_mp4`."""


def write_mp4(
    path: Path,
    frames: NDArray[np.uint8],
    fps: float,
    *,
    crf: int = 23,
    gop: int = 12,
    preset: str = "veryfast",
) -> None:
    """Write an H.264 file; the same frames give the same file on every machine.

    Args:
        path: Where to; the suffix does not matter.
        frames: (T, H, W, 3) RGB, H and W at least 2; an odd last row or column is left out,
            because 4:2:0 has none.
        fps: Frames per second.
        crf: Quality, from 0 (lossless) to 51.
        gop: Largest distance between key frames, in frames.
        preset: Trade of speed for size, a libx264 name.
    """
    # Without cpu-independent, x264's choices can differ by a rounding, even between two runs.
    options = {"crf": str(crf), "preset": preset, "g": str(gop)}
    options["x264-params"] = "cpu-independent=1"
    file = io.BytesIO()
    _encode(file, "mp4", "libx264", frames, fps, options)
    with room_for(path, file.tell()):
        path.write_bytes(file.getvalue())


def encode_mp4(pictures: Iterable[NDArray[np.uint8]], seconds: Sequence[float]) -> bytes:
    """Return an H.264 file that browsers play, encoded as quickly as possible.

    Args:
        pictures: (3, H, W) planes of red, green and blue, H and W even; each may be overwritten
            by the next.
        seconds: At which each begins, ascending from 0, and the end of the last.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = None
        for picture, start, end in zip(pictures, seconds, seconds[1:], strict=False):
            if stream is None:
                stream = container.add_stream("libx264", 25, {"preset": "ultrafast", "crf": "23"})
                stream.height, stream.width = picture.shape[1:]
                stream.pix_fmt, stream.thread_count = "yuv420p", 1
                stream.codec_context.time_base = _TICK
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))
            frame.time_base = _TICK
            frame.pts, frame.duration = round(start / _TICK), round((end - start) / _TICK)
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())
    return file.getvalue()


def encode_webp(frames: NDArray[np.uint8], fps: float, *, quality: int = 55) -> bytes:
    """Return an endless WebP animation: browsers play it like a picture, in any number.

    Args:
        frames: (T, H, W, 3) RGB, H and W at least 2; a single one gives a still picture.
        fps: Frames per second.
        quality: From 0 to 100.
    """
    file = io.BytesIO()
    _encode(file, "webp", "libwebp_anim", frames, fps, {"quality": str(quality)}, {"loop": "0"})
    return file.getvalue()


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture (H, W, 3) RGB, or (H, W, 4) with opacity, without loss."""
    context = av.VideoCodecContext.create("png", "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt = "rgb24" if picture.shape[2] == 3 else "rgba"
    context.time_base = Fraction(1, 25)  # pictures have no time, but an encoder wants one
    context.thread_count = 1
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), context.pix_fmt)
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def _encode(
    file: IO[bytes],
    form: str,
    codec: str,
    frames: NDArray[np.uint8],
    fps: float,
    options: dict[str, str],
    container_options: dict[str, str] | None = None,
) -> None:
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(file, "w", format=form, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate, options)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = even.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for picture in even:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class JpegEncoder:
    """Encodes pictures of one size, chroma at half of it; serves one thread at a time."""

    def __init__(self, size: tuple[int, int], quality: int) -> None:
        """Prepare an encoder.

        Args:
            size: (height, width) of the pictures.
            quality: The quantiser, from 2 (best) to 31.
        """
        context = av.VideoCodecContext.create("mjpeg", "w")
        context.height, context.width = size
        context.pix_fmt = "yuvj420p"
        context.time_base = Fraction(1, 25)  # JPEGs have no time, but an encoder wants one
        context.thread_count = 1
        context.bit_rate = 1_000_000_000  # leaves the choice to the quantiser
        context.options = {"qmin": str(quality), "qmax": str(quality)}
        self._context = context
        self._convert = VideoReformatter()
        self._count = 0

    def __call__(self, picture: NDArray[np.uint8]) -> bytes:
        """Return the JPEG of a picture (3, H, W), planes of red, green and blue."""
        frame = self._convert.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(picture.transpose(1, 2, 0))),
            format="yuvj420p",
            interpolation=Interpolation.AREA,  # of each two by two pixels' chroma
            threads=1,
        )
        frame.pts = self._count
        self._count += 1
        return b"".join(map(bytes, self._context.encode(frame)))
