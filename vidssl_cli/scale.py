"""Decoded frames to pictures of the wanted size, by swscale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray


class Scaler:
    """Scales and converts frames; keep one for a file, or every frame pays for new tables.

    One scaler serves one thread at a time.
    """

    def __init__(self) -> None:
        self._resize = VideoReformatter()
        self._convert = VideoReformatter()

    def __call__(self, frame: VideoFrame, height: int, width: int) -> NDArray[np.uint8]:
        """Return the frame as an (H, W, 3) picture, red, green and blue from 0 to 255."""
        if (frame.height, frame.width) != (height, width):
            # Straight to interleaved pixels gives the same values in twice the time.
            frame = self._resize.reformat(
                frame,
                width=width,
                height=height,
                format="gbrp",
                interpolation=Interpolation.BILINEAR,  # widens as it shrinks: no aliasing
                threads=1,
            )
        rgb = self._convert.reformat(
            frame, format="rgb24", interpolation=Interpolation.BILINEAR, threads=1
        )
        return rgb.to_ndarray().astype(np.uint8, copy=False)


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
