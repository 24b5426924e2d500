"""Clips drawn from videos, each with a class that time alone decides; no labels are needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.metrics import confusion
from vidssl_cli.contract.study import ClipSet, Study
from vidssl_plugins.evaluators.options.shared import Probe
from vidssl_plugins.evaluators.shared.fc import train_fc
from vidssl_plugins.evaluators.shared.settings import reading_of

Plan = Callable[[int, np.random.Generator], tuple[NDArray[np.int64], NDArray[np.int64]]]
"""From the frames that a video has to (clips, T) frame numbers and (examples,) classes."""
Merge = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From (clips, D) features of a video to (examples, D)."""


@dataclass(frozen=True)
class Examples:
    """Planned clips of the videos of a split."""

    looks: list[ClipSet]
    classes: NDArray[np.int64]
    """(examples,) of all videos, one after the other."""
    too_short: int
    """Videos that are left out."""


class TimeTask:
    """A task that is learned from clips of the training split and tested on the test split."""

    def __init__(
        self,
        study: Study,
        options: Probe,
        needs: int,
        classes: int,
        plan: Plan,
        merge: Merge = lambda clips: clips,
    ) -> None:
        """Plan the clips of every video that has enough frames.

        Args:
            study: Videos and their features.
            options: What is read and learned.
            needs: Frames that a video must have.
            classes: K.
            plan: Plans the clips of one video.
            merge: Makes examples of the features of its clips.

        Raises:
            UsageError: No video of a split is long enough, or there is no such tap.
        """
        self.study, self.options, self.classes, self.merge = study, options, classes, merge
        self.reading = reading_of(study, options.tap, options.pool)
        self.train, self.test = (
            _draw(study, split, needs, options.seed, plan) for split in ("train", "test")
        )

    @property
    def facts(self) -> dict[str, Any]:
        """The counts and settings that a report shows."""
        return {
            "train": len(self.train.classes),
            "test": len(self.test.classes),
            "videos too short": self.train.too_short + self.test.too_short,
            "tap": self.reading.tap,
            "pool": self.reading.pool,
        }

    def counts(self, weights: str) -> NDArray[np.int64]:
        """Train new layers on frozen features; return the `confusion` of the test clips."""
        train, test = (
            np.concatenate([self.merge(clips) for clips in found])
            for part in (self.train, self.test)
            for found in self.study.features(weights, part.looks, [self.reading])
        )
        predict = train_fc(
            train,
            self.train.classes,
            self.options.fc,
            classes=self.classes,
            device=self.study.device,
        )
        return confusion(self.test.classes, predict(test).argmax(-1), self.classes)


def accuracy(counts: NDArray[np.int64]) -> float:
    """Return the share of a `confusion` that is right."""
    return float(counts.trace() / counts.sum())


def _draw(study: Study, split: str, needs: int, seed: int, plan: Plan) -> Examples:
    videos = [video for video in study.data if video.split == split]
    looks, classes = [], []
    for number, video in enumerate(videos):
        if (count := study.count(video)) >= needs:
            frames, targets = plan(count, Draw(seed, 0, number)(f"clips of {split}"))
            looks.append(ClipSet(video, frames))
            classes.append(targets)
    if not looks:
        raise UsageError(
            f"none of the {len(videos)} videos of the split {split!r} has {needs} frames",
            hint="give data with a train and a test split, and with longer videos",
        )
    return Examples(looks, np.concatenate(classes), len(videos) - len(looks))
