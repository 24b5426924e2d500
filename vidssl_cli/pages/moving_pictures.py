"""A few seconds of a video as a moving picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.videos import FASTEST, Moment, Video
from vidssl_cli.data.frame_rate import position_at, seconds_at
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import encode_webp
from vidssl_cli.pages.html import data_url

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


HEIGHT = 132
"""Pixels of a moving picture."""
WIDEST = 2.4
"""Largest ratio of the sides that is shown as it is; more is squeezed to it."""
RATE = 12.5
"""Frames per second, at most."""
SHORTEST, LONGEST = 1.6, 3.2
"""Seconds that a moving picture shows; shorter moments are shown with what is around them."""


@dataclass(frozen=True)
class Picture:
    """A video on a page: its moving picture, or why there is none."""

    moving: str = ""
    """Data URL of an animated WebP."""
    still: str = ""
    """The same of one frame, for readers who want no motion."""
    problem: str = ""
    """Why the video cannot be read."""


def moving_picture(frames: NDArray[np.uint8], rate: float, quality: int = 55) -> Picture:
    """Return frames (T, H, W, 3) as a moving picture of ``rate`` frames per second, with a still.

    Args:
        frames: RGB.
        rate: Frames per second.
        quality: From 0 to 100.
    """
    middle = len(frames) // 2
    moving, still = (
        data_url(encode_webp(shown, rate, quality=quality), "webp")
        for shown in (frames, frames[middle : middle + 1])
    )
    return Picture(moving, still)


def moving_frames(
    video: Video, moment: Moment | None = None, *, height: int = HEIGHT, rate: float = RATE
) -> tuple[NDArray[np.uint8], float]:
    """Read what shows a video, or a moment of it, in a few seconds around its middle.

    Args:
        video: With its facts.
        moment: In seconds; None stands for all of it.
        height: Of the frames, in pixels, unless the video has fewer.
        rate: Frames per second, at most.

    Returns:
        (T, H, W, 3) frames, and how many of them are a second.

    Raises:
        MediaError: The video cannot be read.
    """
    total = video.frames or 1
    start, end = moment or (0, float(seconds_at(video, np.array(total))))
    length, middle = min(max(end - start, SHORTEST), LONGEST), (start + end) / 2
    bounds = np.array([middle - length / 2, middle + length / 2])
    begin, stop = position_at(video, bounds).tolist()
    count = min(total, max(1, round(stop - begin)))
    first = min(max(0, round((begin + stop) / 2 - count / 2)), total - count)
    lasting = np.diff(seconds_at(video, np.array([first, first + count])))
    own = count / max(float(lasting[0]), 1 / FASTEST)
    step = max(1, ceil(own / rate))
    height = max(2, min(height, video.height or height))
    width = max(2, round(height * shown_ratio(video)))
    if video.packed:  # more pixels than were packed would show nothing more
        shrink = min(1, video.packed.height / height, video.packed.width / width)
        height, width = max(2, int(height * shrink)), max(2, int(width * shrink))
    return read_frames(video, range(first, first + count, step), (height, width)), own / step


def shown_ratio(video: Video) -> float:
    """Return width by height as shown: not above `WIDEST`, and not below its inverse."""
    ratio = video.width / video.height if video.width and video.height else 4 / 3
    return min(max(ratio, 1 / WIDEST), WIDEST)
