"""Samplers plan clips: which frames of which videos, with random numbers that can be repeated.

Letters: B videos, V views of a video, T frames of a clip, C channels, H W pixels.
Nothing here sees a pixel, and nothing imports torch.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np  # noqa: TID253 - plans and metrics are arrays

from vidssl_cli.base.errors import noted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.contract.videos import Video

Key = int | str

ABSENT = -100
"""The value of a label on a view that it does not apply to; cross entropy's ``ignore_index``."""


@dataclass(frozen=True)
class Draw:
    """Random numbers by address: the same address always gives the same numbers.

    A draw belongs to one visit to one video. Every random choice has its own generator, by purpose
    and view; so workers, resuming, processes and the order of batches do not change a sample.
    """

    seed: int
    epoch: int
    """How often the run has visited the video before."""
    video: int
    """Index of the video in its data set."""

    def __call__(self, purpose: str, view: Key = "") -> np.random.Generator:
        """Return the generator for one purpose, shared by the views that give the same key."""
        address = f"{self.seed}/{self.epoch}/{self.video}/{view}/{purpose}"
        return generator_of(hashlib.blake2b(address.encode(), digest_size=16).digest())


def generator_of(digest: bytes) -> np.random.Generator:
    """Return the generator whose key is a digest (16 bytes)."""
    return np.random.Generator(np.random.Philox(_Key(digest)))  # type: ignore[arg-type]


class _Key(np.random.bit_generator.ISeedSequence):
    """The key of a generator, which numpy takes from the system first if it is told otherwise."""

    def __init__(self, digest: bytes) -> None:
        self.digest = digest

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:
        """Return the two words that Philox asks for."""
        return np.frombuffer(self.digest, "<u8")


@dataclass(frozen=True)
class View:
    """One clip of a plan.

    Views of a video with an equal key share the parameters of that augmentation; with the key None
    a view has its own.
    """

    frames: NDArray[np.int64]
    """(T,) frame numbers from 0, in playing order; they may repeat and descend."""
    crop: Key | None = None
    flip: Key | None = None
    colour: Key | None = None
    turns: int = 0
    """Quarter turns, counter-clockwise, of the cropped and mirrored clip."""


@dataclass(frozen=True)
class ClipPlan:
    """The clips of one video in one visit."""

    views: tuple[View, ...]
    labels: Mapping[str, NDArray[np.int64] | NDArray[np.float32]] = field(default_factory=dict)
    """Free labels by name: (V,) per view, or () for the video; ABSENT where one does not apply."""
    geometry: Draw | None = None
    """Random numbers that crop and flip the views: None for the video's own, or those of one video
    of the batch for several, which then share how the boxes of their views lie to one another, and
    the boxes themselves if their frames have one size."""


@dataclass(frozen=True)
class Course:
    """What a sampler knows of a run when it plans its stages."""

    videos: Sequence[Video]
    """The data set."""
    video: NDArray[np.int64]
    """(n,) index of the video of each visit of an epoch."""
    number: NDArray[np.int64]
    """(n,) number of each visit among those to its video, from 0."""
    epoch_steps: int
    """Optimizer steps of an epoch."""
    epochs: int
    """Epochs of the run."""
    seed: int = 0
    """Of the random draws of the run."""


@dataclass(frozen=True)
class Stage:
    """A part of training, and the visits that it goes over, in shuffled passes."""

    first_step: int
    """Optimizer steps of the run before it."""
    visits: NDArray[np.int64]
    """(m,) positions among the visits of the `Course`, each once."""


class Sampler(abc.ABC):
    """Plans clips from the facts of a video and a `Draw`."""

    views: int
    """V, clips per video."""
    frames: int
    """T, frames per clip."""
    together: int = 1
    """How many consecutive videos of a batch depend on each other; processes and parts of an
    accumulated batch get whole groups of them."""

    def rejects(self, video: Video) -> str | None:
        """Return why the video cannot be used, or None if it can."""
        return None

    def visits(self, video: Video) -> int:
        """Return how many visits the video has in an epoch, for each of ``repeats``.

        The n visits of a round have draws whose ``epoch`` modulo n is 0 to n - 1.
        """
        return 1

    def stages(self, course: Course) -> Sequence[Stage]:
        """Return the stages of training, which begin at ascending steps from 0.

        By default there is one, over all visits; a curriculum overrides this.
        """
        return [Stage(0, np.arange(len(course.video)))]

    @abc.abstractmethod
    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Plan the views of one video."""

    def plan_batch(self, videos: Sequence[Video], draws: Sequence[Draw]) -> list[ClipPlan]:
        """Plan a batch; override it where videos depend on each other."""
        plans = []
        for video, draw in zip(videos, draws, strict=True):
            with noted(lambda path=video.path: f"planning {path}"):  # type: ignore[misc]
                plans.append(self.plan(video, draw))
        return plans

    def plan_part(
        self, videos: Sequence[Video], draws: Sequence[Draw], part: slice
    ) -> list[ClipPlan]:
        """Plan those of a batch that one process gets, which are whole groups of `together`.

        Videos that are planned one by one need no others. Where `plan_batch` is overridden, all are
        planned, and most of them for nothing; override this too if a part does not need the rest.
        """
        if type(self).plan_batch is Sampler.plan_batch:
            return self.plan_batch(videos[part], draws[part])
        return self.plan_batch(videos, draws)[part]


@dataclass
class Batch:
    """A training batch, on the training device."""

    clips: Tensor
    """(B, V, C, T, H, W) float, augmented and normalised."""
    labels: dict[str, Tensor]
    """(B, V) or (B,) by name; ABSENT where a label does not apply."""
    video: Tensor
    """(B,) index of each video in the data set."""
    frames: Tensor
    """(B, V, T) frame numbers of the clips."""
    pixels: Tensor | None = None
    """(B, V, 3, T, S, S) uint8, cropped and mirrored like ``clips`` but with colours as they were;
    None where no pretext task needs it."""
    flow: Tensor | None = None
    """(B, V, 2, T - 1, S, S) float32, optical flow from each frame to the next in pixels of the
    network's square, right and down positive; None where no pretext task needs it."""

    def tensors(self) -> list[Tensor]:
        """Return all tensors of the batch."""
        parts = (self.clips, self.video, self.frames, self.pixels, self.flow)
        return [*self.labels.values(), *(part for part in parts if part is not None)]


def known_frames(video: Video) -> int:
    """Return the number of frames of a video.

    Raises:
        ValueError: if the video was never scanned.
    """
    if video.frames is None:
        raise ValueError(f"{video.path} has no frame count; scan it first")
    return video.frames


def fitting_stride(count: int, frames: int, stride: int) -> int:
    """Return the stride, or the largest smaller one with which the clip fits; at least 1."""
    return max(1, min(stride, (count - 1) // max(1, frames - 1)))


def window(start: int, frames: int, stride: int, count: int) -> NDArray[np.int64]:
    """Return the T frame numbers from ``start``; past the end the last frame is repeated."""
    return np.minimum(start + stride * np.arange(frames, dtype=np.int64), count - 1)


def uniform_starts(count: int, span: int, clips: int) -> NDArray[np.int64]:
    """Spread windows of ``span`` frames evenly over a video of ``count`` frames.

    The first window starts with the video and the last one ends with it, rounded down (VCOP's
    convention). A single window is in the middle.
    """
    last = max(0, count - span)
    if clips == 1:
        return np.array([last // 2], dtype=np.int64)
    return np.arange(clips, dtype=np.int64) * last // (clips - 1)


@dataclass(frozen=True)
class Windows:
    """Which clips of a video are embedded."""

    place: Literal["uniform", "dense", "overlap", "starts"] = "uniform"
    """``uniform``: ``clips`` clips, evenly spaced, the first at the beginning and the last at the
    end (Xu et al. 2019, VCOP's code). ``dense``: every n-th start, with n for about ``clips`` clips
    (temporal transformations' released code, with 32). ``overlap``: every start that is a multiple
    of ``hop`` (thesis, YUPENN and ASLAN). ``starts``: at ``starts``, and where a clip does not fit
    any more, one that ends with the video."""
    clips: int = 10
    """How many, for ``uniform``; about how many, for ``dense``."""
    hop: int = 8
    """Frames from one start to the next, for ``overlap``."""
    stride: int | tuple[int, ...] = 1
    """Distance in frames between two frames of a clip; or S of them, for clips of several strides
    with one middle, whose features are joined."""
    starts: tuple[int, ...] = (0,)
    """Frames at which clips begin, for ``starts``; ascending, the first within the video."""

    def of(self, count: int, frames: int) -> NDArray[np.int64]:
        """Return (clips, T) frame numbers for a video of ``count`` frames and clips of T frames.

        They are (clips, S, T) if there are S strides. If the video is shorter than a clip, the
        stride is the largest that fits; if 1 does not fit, the last frame is repeated.
        """
        strides = [fitting_stride(count, frames, stride) for stride in self.strides]
        span = (frames - 1) * max(strides) + 1
        last = max(0, count - span)
        match self.place:
            case "uniform":
                starts = uniform_starts(count, span, self.clips)
            case "dense":
                starts = np.arange(0, last + 1, max((last + 1) // self.clips, 1))
            case "overlap":
                starts = np.arange(0, last + 1, self.hop)
            case "starts":
                starts = np.unique(np.minimum(self.starts, last))
        inner = [(stride, (span - (frames - 1) * stride - 1) // 2) for stride in strides]
        clips = np.array(
            [
                [window(int(start) + n, frames, stride, count) for stride, n in inner]
                for start in starts
            ]
        )
        return clips if isinstance(self.stride, tuple) else clips[:, 0]

    @property
    def strides(self) -> tuple[int, ...]:
        """S distances, one or more."""
        return self.stride if isinstance(self.stride, tuple) else (self.stride,)
