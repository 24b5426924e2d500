"""Clips of a video that are compared: augmented in time like SSTL's, and spread over the video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vidssl_cli.contract.clips import Draw, Windows
from vidssl_cli.contract.study import ClipSet, Study
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.sstl import SSTLSampler


@dataclass(frozen=True)
class Plan:
    """Which clips are compared; the fields are options of ``invariance``."""

    strengths: Sequence[int]
    dropout: float
    pairs: int
    clips: int
    seed: int

    def dropped(self, strength: int, frames: int) -> int:
        """Return how many frames temporal dropout takes; more than T + 1 are never apart."""
        return min(int(self.dropout * strength), frames + 1)

    def needs(self, frames: int, stride: int) -> int:
        """Return the frames that a video must have for the strongest augmentation."""
        return (frames + self.strengths[-1] - 1) * stride + 1

    def augmented(self, study: Study, video: Video, number: int, stride: int) -> list[ClipSet]:
        """Draw pairs of clips (2 x pairs, T) for each strength, as the sampler ``sstl`` does.

        Args:
            study: Whose clip length is taken.
            video: One that has as many frames as `needs` says.
            number: Of the video, an address of its draws.
            stride: Distance in frames between two frames of a clip.
        """
        strided = replace(video, frames=(study.count(video) - 1) // stride + 1)
        found = []
        for strength in self.strengths:
            sampler = SSTLSampler(
                frames=study.frames,
                buffer=strength,
                dropout=self.dropped(strength, study.frames),
                rate=(1, 1),
                max_drop=0,
                rate_target="drawn",
                spatial_share="video",
                short_video="error",
            )
            plans = [sampler.plan(strided, Draw(self.seed, n, number)) for n in range(self.pairs)]
            frames = np.stack([view.frames for plan in plans for view in plan.views])
            found.append(ClipSet(video, frames * stride))
        return found

    def spread(self, study: Study, video: Video, stride: int) -> ClipSet:
        """Return evenly spaced clips, all different: fewer where the video is too short."""
        count = study.count(video)
        starts = count - (study.frames - 1) * stride
        windows = Windows(clips=min(self.clips, max(starts, 1)), stride=stride)
        return ClipSet(video, windows.of(count, study.frames))
