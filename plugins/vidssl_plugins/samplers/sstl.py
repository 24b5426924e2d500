"""Two clips cut from one stretch of a video, each with frames missing (SSTL 2021, section 3.1).

Positions count within the base clip, which is T + e consecutive frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vidssl_cli.contract.clips import ClipPlan, Draw, View, known_frames
from vidssl_plugins.samplers.shared.short_videos import ShortVideos, ShortVideoSampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.shared import Short


def distort_rate(draws: NDArray[np.float64], rate: float, most: int) -> NDArray[np.int64]:
    """Play faster by dropping frames: each with probability 1 - 1/rate.

    Args:
        draws: one number from [0, 1) for each frame.
        rate: at least 1.
        most: frames that may be dropped; later ones are kept.

    Returns:
        The positions that are kept, ascending.
    """
    dropped = draws < 1 - 1 / rate
    dropped &= np.cumsum(dropped) <= most
    return np.flatnonzero(~dropped)


def apart(random: np.random.Generator, count: int, chosen: int) -> NDArray[np.int64]:
    """Choose positions below ``count``, no two of them adjacent; every choice is equally likely."""
    # Subsets of a shorter list, spread by one place after each member, are exactly these.
    subset = np.sort(random.choice(count - chosen + 1, chosen, replace=False))
    return subset + np.arange(chosen)


@dataclass(eq=False)
class SSTLSampler(ShortVideoSampler):
    """Draws a base clip, and from it two clips that lack different frames."""

    views = 2

    frames: int
    buffer: int
    dropout: int
    rate: tuple[float, float]
    max_drop: int
    rate_target: Literal["drawn", "realised"]
    spatial_share: Literal["clip", "video"]
    short_video: Short

    def __post_init__(self) -> None:
        self.needed = self.frames + self.buffer
        self.short = ShortVideos(self.short_video, self.needed, least=self.needed)
        self.shared = "video" if self.spatial_share == "video" else None

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the two clips, with the rate of each and where in the video they lie."""
        length = self.short.length(video)
        start = draw("start").integers(length - self.needed + 1)
        base = self.short.fold(start + np.arange(self.needed, dtype=np.int64), video)
        cuts = [self._cut(view, draw) for view in range(self.views)]
        position = base[self.needed // 2] / known_frames(video)
        return ClipPlan(
            tuple(View(base[p], self.shared, self.shared, self.shared) for p, _ in cuts),
            {
                "rate": np.array([rate for _, rate in cuts], dtype=np.float32),
                "position": np.full(self.views, position, dtype=np.float32),
            },
        )

    def _cut(self, view: int, draw: Draw) -> tuple[NDArray[np.int64], float]:
        """Draw T positions of the base clip, ascending, and return the rate."""
        rate = draw("rate", view).uniform(*self.rate)
        kept = distort_rate(draw("distortion", view).random(self.needed), rate, self.max_drop)
        if self.rate_target == "realised":
            rate = self.needed / len(kept)
        kept = np.delete(kept, apart(draw("dropout", view), len(kept), self.dropout))
        first = draw("temporal crop", view).integers(len(kept) - self.frames + 1)
        return kept[first : first + self.frames], rate
