"""A study without videos, for tests of evaluators: a function computes the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.clips import known_frames
from vidssl_cli.contract.reports import Confusion, PretextScores
from vidssl_cli.contract.study import Classified, ClipSet, Layer, Strides
from vidssl_cli.contract.videos import Video

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Windows
    from vidssl_cli.contract.study import Baseline, Crops, Embedding

TAPS = {"pool3": 8, "pool4": 16, "conv5": 32, "pool5": 32, "feat": 32, "projection": 16}

Answer = Callable[[str, "ClipSet", "Layer"], "NDArray[np.floating]"]
"""From weights, clips and layer to features (clips, D)."""


def labelled(split: str, of_each: int, classes: int = 3, frames: int = 100) -> list[Video]:
    """Return videos that do not exist, of the classes 0, 1, …, in turn."""
    return [
        Video(f"{split}{i}.mp4", label=str(i % classes), split=split, frames=frames, fps=25.0)
        for i in range(classes * of_each)
    ]


def clouds(weights: str, clip_set: ClipSet, layer: Layer) -> NDArray[np.floating]:
    """Separate the classes for the weights of the run; else noise, equal for equal clips."""
    seed = [*clip_set.video.path.encode(), *clip_set.frames[:, 0].tolist()]
    noise = np.random.default_rng(seed).normal(size=(len(clip_set.frames), TAPS[layer.tap]))
    if weights == "run":
        noise[:, int(str(clip_set.video.label))] += 20
    return noise


def noise(name: str, video: Video) -> NDArray[np.floating]:
    """Return noise, equal for equal videos."""
    return np.random.default_rng([*name.encode(), *video.path.encode()]).normal(size=8)


@dataclass
class MadeUpStudy:
    """A `Study` of videos that do not exist."""

    answer: Answer = clouds
    train: Sequence[Video] = field(default_factory=lambda: labelled("train", 8))
    test: Sequence[Video] = field(default_factory=lambda: labelled("test", 4))
    weights: Sequence[str] = ("run", "random")
    folder: Path | None = None
    backbone: str = "made_up"
    taps: Mapping[str, int] = field(default_factory=lambda: TAPS)
    evaluation: Embedding = field(default_factory=lambda: Evaluation(clips=2))
    frames: int = 16
    device: str = "cpu"
    residual: bool = False
    asked: list[tuple[Sequence[ClipSet], Sequence[Layer], Crops]] = field(default_factory=list)
    """What `features` was asked for."""
    hand_made: Callable[[str, Video], NDArray[np.floating]] = noise
    """From the name of a baseline and a video to (D,)."""

    @property
    def data(self) -> Sequence[Video]:
        """All videos of both splits."""
        return [*self.train, *self.test]

    def of_split(self, number: int) -> MadeUpStudy:
        """Return this study: it has one split."""
        return self

    def count(self, video: Video) -> int:
        """Return how many frames a video has."""
        return known_frames(video)

    def features(
        self,
        weights: str,
        clip_sets: Sequence[ClipSet],
        layers: Sequence[Layer],
        crops: Crops = "centre",
    ) -> list[list[NDArray[np.float32]]]:
        """Return (clips, D) for each layer and set of clips; crops are equal."""
        self.asked.append((clip_sets, layers, crops))
        repeats = 3 if crops == "three" else 1
        return [
            [
                self.answer(weights, clip_set, layer).repeat(repeats, 0).astype(np.float32)
                for clip_set in clip_sets
            ]
            for layer in layers
        ]

    def baseline(self, name: Baseline, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D) hand-made features, by default noise."""
        return np.stack([self.hand_made(name, video) for video in videos]).astype(np.float32)

    def strides(self, recipe: str, overrides: Sequence[str], tested: int | None) -> Strides:
        """Return a stride of 1 in training; recipes do not matter."""
        return Strides(1, tested or 1)

    def finetune(
        self,
        weights: str,
        recipe: str,
        overrides: Sequence[str],
        windows: Windows,
        crops: Crops = "centre",
    ) -> Classified:
        """Return the answers of a classifier by the nearest class mean."""
        (train, test) = (
            self.features(
                weights,
                [ClipSet(video, windows.of(self.count(video), self.frames)) for video in part],
                [Layer("feat")],
                crops,
            )[0]
            for part in (self.train, self.test)
        )
        labels = np.array([str(video.label) for video in self.train])
        classes = sorted(set(labels))
        means = np.stack([features.mean(0) for features in train])
        centres = np.stack([means[labels == name].mean(0) for name in classes])
        distances = [np.linalg.norm(clips[:, None] - centres, axis=2) for clips in test]
        nearness = [np.exp(d.min(1, keepdims=True) - d).astype(np.float32) for d in distances]
        return Classified(classes, [clips / clips.sum(1, keepdims=True) for clips in nearness])

    def learn(
        self, weights: str, recipe: str, overrides: Sequence[str], visits: int
    ) -> PretextScores:
        """Return the confusion of 13 delays: the run is right or one off, random weights say 0."""
        counts = np.zeros((13, 13), dtype=int)
        for true in range(13):
            counts[true, true if weights == "run" else 6] += visits
            counts[true, max(true - 1, 0) if weights == "run" else 6] += visits
        names = [str(delay) for delay in range(-6, 7)]
        return PretextScores({}, [Confusion("classify.delay.delay", names, counts.tolist())])

    def pretext_scores(self, weights: str) -> PretextScores:
        """Return a loss and an accuracy; the run is better than random weights."""
        counts = [[9, 1], [1, 9]] if weights == "run" else [[2, 8], [7, 3]]
        values = {"loss": 0.5, "toy.accuracy": 0.9 if weights == "run" else 0.25}
        return PretextScores(values, [Confusion("toy.kind", ["a", "b"], counts)])
