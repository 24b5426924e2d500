"""Frames into small H.264 files and moving thumbnails; the counterpart of `vidssl_cli.decode`."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np
from numpy.typing import NDArray


def write_mp4(
    path: Path,
    frames: NDArray[np.uint8],
    fps: float,
    *,
    crf: int = 23,
    gop: int = 12,
    preset: str = "veryfast",
) -> None:
    """Write an H.264 file, which is the same for the same frames on every run.

    Args:
        path: Where to; the suffix does not matter.
        frames: (T, H, W, 3) RGB, H and W at least 2; an odd last row or column is left out,
            because 4:2:0 has none.
        fps: Frames per second.
        crf: Quality, from 0 (lossless) to 51.
        gop: Largest distance between key frames, in frames.
        preset: Trade of speed for size, a libx264 name.
    """
    with path.open("wb") as file:
        _encode(file, frames, fps, {"crf": str(crf), "preset": preset}, gop)


def encode_mp4(frames: NDArray[np.uint8], fps: float, *, crf: int = 27) -> bytes:
    """Return a small H.264 file that browsers play; see `write_mp4`."""
    file = io.BytesIO()
    _encode(file, frames, fps, {"crf": str(crf), "preset": "medium"}, len(frames))
    return file.getvalue()


def _encode(
    file: IO[bytes], frames: NDArray[np.uint8], fps: float, options: dict[str, str], gop: int
) -> None:
    even = frames[:, : frames.shape[1] // 2 * 2, : frames.shape[2] // 2 * 2]
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", Fraction(fps).limit_denominator(1001), options)
        stream.height, stream.width = even.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.gop_size = max(gop, 1)
        stream.thread_count = 1
        for frame in even:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame))))
        container.mux(stream.encode())
