"""Decoded frames to pictures of the wanted size, by swscale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Scaler:
    """Scales and converts frames; keep one for a file, or every frame pays for new tables.

    One scaler serves one thread at a time.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def draw(self, frame: VideoFrame, picture: NDArray[np.uint8]) -> None:
        """Scale a frame into a picture (3, H, W): planes of red, green and blue from 0 to 255."""
        _, height, width = picture.shape
        # Scaling into planes costs less than half of scaling into interleaved colours. Where
        # nothing is scaled, swscale's shortcut into planes leaves garbage in the last columns
        # (libswscale 9.5, width % 16 from 1 to 8).
        unscaled = (frame.height, frame.width) == (height, width)
        scaled = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24" if unscaled else "gbrp",
            interpolation=Interpolation.BILINEAR,  # widens its kernel when it shrinks: no aliasing
            threads=1,
        )
        if unscaled:
            picture[...] = scaled.to_ndarray().transpose(2, 0, 1)
            return
        for channel, plane in zip((1, 2, 0), scaled.planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            picture[channel] = rows[:height, :width]


def scaled_planes(frames: NDArray[np.uint8], resize: tuple[int, int] | int) -> NDArray[np.uint8]:
    """Scale frames (T, H, W, 3) of red, green and blue as decoded ones are; return (T, 3, h, w)."""
    height, width = target_size(resize, frames.shape[1:3])
    planes, scaler = np.empty((len(frames), 3, height, width), np.uint8), Scaler()
    for frame, picture in zip(frames, planes, strict=True):
        scaler.draw(VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24"), picture)
    return planes


def target_size(resize: tuple[int, int] | int, size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) that ``resize`` asks for of pictures of the given size.

    Args:
        resize: (height, width), or the length of the short side, which keeps the proportions.
        size: (height, width) of the pictures as shown.
    """
    if not isinstance(resize, int):
        return resize
    scale = resize / min(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
