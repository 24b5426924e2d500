"""Unit vectors of videos, means over overlapping clips (Wang's thesis 2020, 2.6 and 3.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import ClipSet, Layer, Study
from vidssl_cli.contract.videos import Video


def overlapping(study: Study, videos: Sequence[Video], hop: int) -> list[ClipSet]:
    """Return every clip of each video that begins at a multiple of ``hop`` frames."""
    windows = Windows("overlap", hop=hop)
    return [ClipSet(video, windows.of(study.count(video), study.frames)) for video in videos]


def unit_means(
    study: Study, weights: str, looks: Sequence[ClipSet], readings: Sequence[Layer]
) -> list[NDArray[np.float64]]:
    """Return (N, D) for each reading: means over clips, scaled to length 1; zeros stay zeros."""
    found = study.features(weights, looks, readings)
    means = [np.stack([clips.mean(0, dtype=np.float64) for clips in each]) for each in found]
    return [m / np.maximum(np.linalg.norm(m, axis=1, keepdims=True), 1e-12) for m in means]
