"""Videos that are shorter than a sampler's clips, and clips at one constant stride."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Draw, Sampler, fitting_stride, known_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_plugins.samplers.options.plain import OneClip
    from vidssl_plugins.samplers.options.short import AnyShort


@dataclass(frozen=True)
class ShortVideos:
    """What becomes of videos that are shorter than ``needed`` frames.

    Under ``loop`` and ``clamp`` a sampler plans a clip as if the video were as long as the clip
    (``length``), and folds the planned numbers back into those that exist (``fold``).
    """

    policy: AnyShort
    needed: int
    """Frames that hold any plan of the sampler."""
    least: int
    """Frames that hold its smallest plan, which is all that ``restrict`` asks for."""

    def rejects(self, video: Video) -> str | None:
        """Say why the video cannot be used, or None if it can.

        Raises:
            UsageError: it cannot, and the policy is ``error``.
        """
        count = known_frames(video)
        needed = {"restrict": self.least, "loop": 1, "clamp": 1}.get(self.policy, self.needed)
        if count >= needed:
            return None
        reason = f"{count} frames; needs at least {needed}"
        if self.policy == "error":
            raise UsageError(
                reason, where=video.path, hint="set sampler.short_video to use or skip such videos"
            )
        return reason

    def length(self, video: Video, needed: int) -> int:
        """Return the number of frames to plan something with that needs so many."""
        count = known_frames(video)
        return max(count, needed) if self.policy in ("loop", "clamp") else count

    def fold(self, frames: NDArray[np.int64], video: Video) -> NDArray[np.int64]:
        """Return planned frame numbers as frames of the video."""
        count = known_frames(video)
        return np.minimum(frames, count - 1) if self.policy == "clamp" else frames % count


class OneClipSampler(Sampler):
    """Plans variants of one clip at a constant stride from anywhere in the video."""

    def __init__(self, options: OneClip, variants: int) -> None:
        self.frames = options.frames
        self.stride = options.stride
        self.every = options.variants == "all"
        self.variants = variants
        self.views = variants if self.every else 1
        self.short = ShortVideos(
            options.short_video, (options.frames - 1) * options.stride + 1, options.frames
        )

    def rejects(self, video: Video) -> str | None:
        """Reject what the policy for short videos rejects."""
        return self.short.rejects(video)

    def clip(self, video: Video, draw: Draw) -> NDArray[np.int64]:
        """Draw the (T,) frames of the clip."""
        length = self.short.length(video, self.short.needed)
        stride = fitting_stride(length, self.frames, self.stride)
        start = draw("start").integers(length - (self.frames - 1) * stride)
        return self.short.fold(start + stride * np.arange(self.frames, dtype=np.int64), video)

    def planned(self, draw: Draw) -> NDArray[np.int64]:
        """Return the (V,) variants to plan: all, or one at random."""
        return (
            np.arange(self.variants)
            if self.every
            else draw("variant").integers(self.variants, size=1)
        )
