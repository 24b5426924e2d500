"""A few seconds of a video as moving pictures."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.videos import FASTEST, Video
from vidssl_cli.data.frame_rate import position_at, seconds_at
from vidssl_cli.media.decode import read_frames
from vidssl_cli.model.card import Moment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


HEIGHT = 132
"""Pixels of a moving picture."""
WIDEST = 2.4
"""Largest ratio of the sides that is shown as it is; more is squeezed to it."""
RATE = 12.5
"""Pictures per second, at most."""
SHORTEST, LONGEST = 1.6, 3.2
"""Seconds that a moving picture shows; shorter moments are shown with what is around them."""


def moving_frames(
    video: Video, moment: Moment | None = None, *, height: int = HEIGHT, rate: float = RATE
) -> tuple[NDArray[np.uint8], float]:
    """Return what shows a video, or a moment of it, in a few seconds around its middle.

    Args:
        video: With its facts.
        moment: In seconds; None stands for all of it.
        height: Of the pictures, in pixels, unless the video has fewer.
        rate: Pictures per second, at most.

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
    if video.packed:  # there is no more to show than was packed
        shrink = min(1, video.packed.height / height, video.packed.width / width)
        height, width = max(2, int(height * shrink)), max(2, int(width * shrink))
    return read_frames(video, range(first, first + count, step), (height, width)), own / step


def shown_ratio(video: Video) -> float:
    """Return width by height, within what is shown."""
    ratio = video.width / video.height if video.width and video.height else 4 / 3
    return min(max(ratio, 1 / WIDEST), WIDEST)
