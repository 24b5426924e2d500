"""What an evaluator works on: labelled videos, and features of any clips of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from vidssl_cli.contract.reports import PretextScores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Windows
    from vidssl_cli.contract.videos import Video


Pool = Literal["gap", "gmp", "flatten", "maxpool122", "maxpool222", "adaptive_max233"]
"""How a tap (N, C, T, H, W) becomes a vector (N, D): methods.md 9.4."""
Crops = Literal["centre", "three"]
"""Squares that are cut from each clip: the middle, or three along the longer side."""
Baseline = Literal["colour", "one_frame", "motion_energy", "frame_difference"]
"""Hand-made features: histograms of colour of the middle frame; that frame at 8 x 8; quantiles of
the difference between neighbouring frames; and its mean at 8 x 8."""


@dataclass(frozen=True)
class Layer:
    """A layer of the network, and how its output becomes a vector."""

    tap: str
    pool: Pool = "gap"


@dataclass(frozen=True, eq=False)
class ClipSet:
    """Clips of a video to embed."""

    video: Video
    frames: NDArray[np.int64]
    """(clips, T) frame numbers, at the frame rate of the network (``input.fps``); or (clips, S, T)
    for clips of S strides, whose features are joined."""


@dataclass(frozen=True, eq=False)
class Classified:
    """A classifier's answers for test videos."""

    classes: Sequence[str]
    """K names."""
    probabilities: Sequence[NDArray[np.float32]]
    """(clips x crops, K) of each video."""
    left_out: int = 0
    """Training videos that could not be used."""


@dataclass(frozen=True)
class Strides:
    """Distances in frames between two frames of the clips that a classifier sees."""

    trained: int | None
    """In training; None if clips have several."""
    tested: int

    @property
    def differ(self) -> bool:
        """Whether it is tested on clips of another stride than it is trained on."""
        return self.trained not in (None, self.tested)


class Embedding(Protocol):
    """How the run's recipe embeds a video: its ``evaluation`` section."""

    @property
    def clips(self) -> int:
        """Evenly spaced clips of a video."""

    @property
    def stride(self) -> int | tuple[int, ...]:
        """Distance in frames between two frames of a clip; several where features are joined."""

    @property
    def tap(self) -> str:
        """Layer whose output is the representation."""

    @property
    def pool(self) -> Pool:
        """How the tap becomes a vector."""

    @property
    def standardise(self) -> bool:
        """Whether features are standardised by the gallery's statistics."""


class Study(Protocol):
    """What an evaluator works on: labelled videos, and features of them."""

    weights: Sequence[str]
    """The sets of weights to compare, ``run`` and ``random``."""
    folder: Path | None
    """Where an evaluator may write files."""
    backbone: str
    """Name of the backbone."""
    taps: Mapping[str, int]
    """Taps of the backbone with their channels; ``projection`` too, where the run keeps one."""
    evaluation: Embedding
    """Defaults of what an evaluator's options do not set."""

    @property
    def device(self) -> str:
        """Where an evaluator trains what it trains, such as ``cpu`` or ``cuda``."""

    @property
    def data(self) -> Sequence[Video]:
        """All videos, with and without splits and labels."""

    @property
    def residual(self) -> bool:
        """Whether the network sees differences of frames; a still clip is then all zeros."""

    @property
    def frames(self) -> int:
        """T, frames of a clip."""

    @property
    def train(self) -> Sequence[Video]:
        """Labelled videos of the training split: the gallery."""

    @property
    def test(self) -> Sequence[Video]:
        """Labelled videos of the test split: the queries."""

    def of_split(self, number: int) -> Study:
        """Return the study of the same network on another official split of the data, from 1."""
        ...

    def count(self, video: Video) -> int:
        """Return how many frames a video has at the frame rate of the network."""
        ...

    def features(
        self,
        weights: str,
        clip_sets: Sequence[ClipSet],
        layers: Sequence[Layer],
        crops: Crops = "centre",
    ) -> list[list[NDArray[np.float32]]]:
        """Return, for each layer and set of clips, (clips, D) features, not normalised.

        Those of clips of S strides are joined, (clips, S x D). With three crops, those of a clip
        are consecutive rows, (3 x clips, D). One pass over the videos computes all of them, without
        those that were computed before.
        """
        ...

    def baseline(self, name: Baseline, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D) hand-made features of whole videos, stored like those of networks."""
        ...

    def strides(self, recipe: str, overrides: Sequence[str], tested: int | None) -> Strides:
        """Return the strides at which `finetune` trains and tests; warn where they differ.

        Args:
            recipe: Name or path of a recipe for `vidssl finetune`.
            overrides: Changes to it, ``key=value``.
            tested: What the protocol says of the test; None leaves it to the recipe.
        """
        ...

    def finetune(
        self,
        weights: str,
        recipe: str,
        overrides: Sequence[str],
        windows: Windows,
        crops: Crops = "centre",
    ) -> Classified:
        """Fine-tune the network on the training videos, and return its answers for the test videos.

        A network that was fine-tuned before, in the study's folder, is not trained again.

        Args:
            weights: To start from; ``random`` trains from scratch.
            recipe: Name or path of a recipe for `vidssl finetune`.
            overrides: Changes to it, ``key=value``.
            windows: Clips of each test video.
            crops: Squares of each clip.
        """
        ...

    def learn(
        self, weights: str, recipe: str, overrides: Sequence[str], visits: int
    ) -> PretextScores:
        """Train the whole network on a task of its own; return how well it does on the test split.

        Videos of the split ``train`` are trained on. A network that learned the task before, in the
        study's folder, is not trained again.

        Args:
            weights: To start from.
            recipe: Name or path of a recipe for `vidssl pretrain`, whose network and input are
                replaced by those of the study.
            overrides: Changes to it, ``key=value``.
            visits: Visits of its sampler to each test video; clips are cut in the middle.
        """
        ...

    def pretext_scores(self, weights: str) -> PretextScores:
        """Return how well the run does its pretext tasks on the videos of the test split."""
        ...
