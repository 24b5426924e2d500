"""Videos that are shorter than a sampler's clips."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Sampler, known_frames
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.options.shared import AnyShort


@dataclass(frozen=True)
class ShortVideos:
    """What becomes of videos that are shorter than ``needed`` frames.

    Under ``loop`` and ``clamp`` a sampler plans a clip as if the video were as long as the clip
    (``length``), and maps the planned numbers back to those that exist (``fold``).
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

    def length(self, video: Video, needed: int | None = None) -> int:
        """Return the number of frames to plan in, for a plan of so many, or for any plan."""
        count = known_frames(video)
        if self.policy not in ("loop", "clamp"):
            return count
        return max(count, self.needed if needed is None else needed)

    def fold(self, frames: NDArray[np.int64], video: Video) -> NDArray[np.int64]:
        """Return planned frame numbers as frames of the video."""
        return self.fold_all(frames, np.int64(known_frames(video)))

    def fold_all(
        self, frames: NDArray[np.int64], counts: NDArray[np.int64] | np.int64
    ) -> NDArray[np.int64]:
        """Return planned frame numbers as frames of videos that have so many."""
        found: NDArray[np.int64]
        found = np.minimum(frames, counts - 1) if self.policy == "clamp" else frames % counts
        return found


class ShortVideoSampler(Sampler):
    """A sampler with a policy for short videos."""

    short: ShortVideos

    def rejects(self, video: Video) -> str | None:
        """Reject what the policy rejects."""
        return self.short.rejects(video)
