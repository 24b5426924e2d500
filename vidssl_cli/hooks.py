"""The contract between vidssl and its plugins.

A plugin offers *options*: pydantic models whose ``name`` is the word a recipe writes and whose
``build()`` returns the live object. A package lists the module that implements these hooks under
the entry-point group ``vidssl``. Import torch inside ``build()``, never at module level: reading
a recipe must not pay for it.

    class Slow(SamplerOptions):
        '''Plays every video at half speed.'''
        name: Literal["slow"]
        def build(self): ...

    @hookimpl
    def vidssl_samplers(): return [Slow]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import pluggy
from pydantic import BaseModel, ConfigDict, NonNegativeFloat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.clips import Batch, Sampler, Windows
    from vidssl_cli.videos import Video

hookspec = pluggy.HookspecMarker("vidssl")
hookimpl = pluggy.HookimplMarker("vidssl")

Pool = Literal["gap", "gmp", "flatten", "maxpool122", "maxpool222", "adaptive_max233"]
"""How a tap (N, C, T, H, W) becomes a vector (N, D): methods.md 9.4."""
Crops = Literal["centre", "three"]
"""Squares that are cut from each clip of a test: its middle, or three along the longer side."""
Baseline = Literal["colour", "one_frame", "motion_energy", "frame_difference"]
"""Features that nobody learned: shades of colour of the middle frame; that frame, made 8 x 8; how
much frames differ from one to the next, over time; and where they do, 8 x 8."""
Stream = Literal["pixels", "flow"]
"""What a batch may hold beside clips: see `clips.Batch`."""


class Options(BaseModel):
    """What a recipe may say about one plugin; subclasses narrow ``name`` to a Literal."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    name: str


Limits = TypeVar("Limits", bound=tuple[float, float])


def ascending(limits: Limits) -> Limits:
    """Return the limits of a range; a validator for options.

    Raises:
        ValueError: the first is larger than the second.
    """
    if limits[0] > limits[1]:
        raise ValueError(f"the smallest comes first, not {limits[0]:g} before {limits[1]:g}")
    return limits


@dataclass(frozen=True)
class PublicWeights:
    """How weights that others publish become a backbone's: `vidssl import`."""

    source: str
    """Who publishes them, under which name."""
    names: Sequence[tuple[str, str]]
    """Regular expressions and what to put in their place, applied to every name in this order."""
    left: str
    """Regular expression of the tensors that the backbone has no place for: the classifier."""
    input: Mapping[str, Any]
    """What the network was trained to see: the ``input`` section of a recipe."""
    frames: int
    """T, frames of a clip."""


class BackboneOptions(Options):
    """Chooses a backbone."""

    public: ClassVar[PublicWeights | None] = None
    """Weights of others that fit this backbone, with the options that they ask for."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        raise NotImplementedError


class SamplerOptions(Options):
    """Chooses a sampler, which plans the clips to cut from each video."""

    def build(self) -> Sampler:
        """Build the sampler."""
        raise NotImplementedError

    def labels(self) -> Mapping[str, int]:
        """Name the free labels the plans carry, each with its number of classes (0: a quantity)."""
        return {}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of labels, for tables and pages; those of others are numbered."""
        return {}


class PretextOptions(Options):
    """Chooses a pretext task: heads and losses over features and free labels."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Labels that the sampler must offer."""
    needs_views: ClassVar[int] = 1
    """Views of each video that the sampler must plan."""

    weight: NonNegativeFloat = 1.0
    """Factor on every loss term of this pretext in the total."""

    def title(self) -> str:
        """Return what its losses are called by: the name, unless an option says more."""
        return self.name

    def required(self) -> frozenset[str]:
        """Return the labels that the sampler must offer: ``needs``, unless an option names them."""
        return self.needs

    def streams(self) -> frozenset[Stream]:
        """Name what the batch must hold beside clips."""
        return frozenset()

    def own_labels(self, batch: Batch) -> Mapping[str, Sequence[str]]:
        """Put labels that it makes of clips into words, for pages.

        Labels of the sampler need none; `SamplerOptions.classes` names them.

        Returns:
            By name, words for each of the B V clips.
        """
        return {}

    def build(self, context: PretextContext) -> Pretext:
        """Build heads and state, randomly initialised."""
        raise NotImplementedError


class EvaluatorOptions(Options):
    """Chooses an evaluation protocol."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        raise NotImplementedError


class Backbone(Protocol):
    """A torch module that maps clips (N, C, T, H, W) to named taps.

    Taps are ``conv1…conv5`` and ``pool1…pool5`` where the network has them, and ``feat``, the
    pooled representation (N, feature_dim). Each but ``feat`` and ``pool5`` is (N, C, T, H, W).
    """

    feature_dim: int
    taps: Mapping[str, int]
    """Channels of each tap."""

    def __call__(self, clips: Tensor) -> dict[str, Tensor]:
        """Return every tap."""
        ...


@dataclass(frozen=True)
class PretextContext:
    """What a pretext may know when it builds its heads."""

    feature_dim: int
    taps: Mapping[str, int]
    """Channels of each tap of the backbone."""
    labels: Mapping[str, int]
    """The sampler's labels with their number of classes."""
    views: int
    """V, clips per video."""
    videos: int
    """Videos in the data set, for state that is kept per video."""
    backbone: Backbone | None = None
    """The network that learns, for pretexts that keep a copy of it; not to be made a submodule."""
    encode: Callable[[Backbone, Tensor], Mapping[str, Tensor]] | None = None
    """Runs such a copy on clips (B, V, C, T, H, W) as the learning network runs, in the same
    precision, and returns taps (B, V, …)."""


class Pretext(Protocol):
    """A torch module: heads, losses, and whatever state they own (in buffers).

    If it has a method ``after_step()``, that is called after every optimizer step. If it has a
    method ``discard_step()``, that is called instead where the step is not taken, since the loss is
    not finite: what `after_step` would have learned must be forgotten. If it tells
    classes apart and has a method ``predictions(features, batch)``, that is called in evaluation
    alone, and returns by label of the sampler two tensors of class numbers, (N,) what it tells and
    (N,) what is true, ABSENT where the label does not apply.
    """

    def __call__(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Map taps (B, V, …) and a batch to named loss terms and named metrics, all scalars."""
        ...


@dataclass
class Table:
    """A titled table of a report."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | int | None]]

    def __post_init__(self) -> None:
        """Refuse rows that are longer or shorter than the table is wide."""
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"a row of the table {self.title!r} has not a cell for every column")


@dataclass(frozen=True)
class Curves:
    """Lines to draw: how figures depend on a quantity."""

    title: str
    x: str
    """What the horizontal axis says."""
    y: str
    """What the vertical axis says."""
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """(x, y) of each line by its name, with x ascending."""


@dataclass(frozen=True)
class Confusion:
    """How often each class was taken for each other."""

    title: str
    classes: Sequence[str]
    counts: Sequence[Sequence[int]]
    """(K, K): rows are the classes, columns what they were taken for."""

    def __post_init__(self) -> None:
        """Refuse counts that are not of these classes."""
        count = len(self.classes)
        if len(self.counts) != count or any(len(row) != count for row in self.counts):
            raise ValueError(f"the counts of {self.title!r} are not {count} by {count}")


@dataclass(frozen=True)
class Neighbours:
    """What a few queries found."""

    title: str
    queries: Sequence[tuple[str, str]]
    """(path, class) of each."""
    hits: Sequence[Sequence[tuple[str, str, float]]]
    """(path, class, cosine) of the nearest gallery videos of each query, best first."""


@dataclass(frozen=True)
class Beside:
    """A row of a paper's table beside ours."""

    key: str
    """Shown by `vidssl published KEY`."""
    source: str
    """Paper and table."""
    dataset: str
    name: str
    """Method, variant, network and tap."""
    figures: Mapping[str, float]
    """Metric to value from 0 to 1."""
    differs: Sequence[str]
    """Settings in which it differs from ours, as far as they are known."""
    also: Sequence[str] = ()
    """Further sources with the same figures."""


@dataclass
class Report:
    """What an evaluator found."""

    rows: list[dict[str, Any]]
    """One per set of weights: ``{"weights": "run" | "random", metric: value from 0 to 1, …}``."""
    chance: float
    """The leading metric of a guesser that knows nothing."""
    chances: dict[str, float] = field(default_factory=dict)
    """The same for every metric that has a chance level."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the protocol was: counts, tap, pooling, level."""
    tables: list[Table] = field(default_factory=list)
    figures: list[Curves | Confusion | Neighbours] = field(default_factory=list)
    """What `vidssl report` draws."""
    published: Sequence[Beside] = ()
    """What papers report of the same protocol and data set, the closest first; not the
    evaluator's to fill in."""


@dataclass(frozen=True)
class OwnTask:
    """How well a network does the pretext tasks of its run."""

    values: Mapping[str, float]
    """Losses and metrics, by ``pretext.name``."""
    confusions: Sequence[Confusion] = ()
    """Of tasks that classify: see `Pretext`. Titled ``pretext.label``."""


@dataclass(frozen=True)
class Reading:
    """A layer of the network, and how its output becomes a vector."""

    tap: str
    pool: Pool = "gap"


@dataclass(frozen=True, eq=False)
class Look:
    """Clips of a video that the network is shown."""

    video: Video
    frames: NDArray[np.int64]
    """(clips, T) frame numbers, at the rate that the network sees videos at (``input.fps``)."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What a classifier says of test videos."""

    classes: Sequence[str]
    """K names."""
    probabilities: Sequence[NDArray[np.float32]]
    """(clips x crops, K) of each video."""
    left_out: int = 0
    """Training videos that could not be used."""


class Embedding(Protocol):
    """How the run's recipe embeds a video: its ``evaluation`` section."""

    @property
    def clips(self) -> int:
        """Evenly spaced clips of a video."""

    @property
    def stride(self) -> int:
        """Distance in frames between two frames of a clip."""

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
    """Where an evaluator may leave files."""
    taps: Mapping[str, int]
    """Taps of the backbone with their channels."""
    evaluation: Embedding
    """What an evaluator's options leave open."""

    @property
    def device(self) -> str:
        """Where an evaluator trains what it trains, such as ``cpu`` or ``cuda``."""

    @property
    def data(self) -> Sequence[Video]:
        """All videos, of every split or none, with labels or without."""

    @property
    def residual(self) -> bool:
        """Whether the network sees differences of frames, so that a still clip is all zeros."""

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
        """Return how many frames a video has at the rate that the network sees it at."""
        ...

    def features(
        self,
        weights: str,
        looks: Sequence[Look],
        readings: Sequence[Reading],
        crops: Crops = "centre",
    ) -> list[list[NDArray[np.float32]]]:
        """Return, for each reading and look, (clips, D) features, not normalised.

        With three crops the rows of a clip follow one another, (3 x clips, D). All readings come
        from one pass over the videos, and what was computed before is not computed again.
        """
        ...

    def baseline(self, name: Baseline, videos: Sequence[Video]) -> NDArray[np.float32]:
        """Return (N, D) hand-made features of whole videos, kept like those of networks."""
        ...

    def finetune(
        self,
        weights: str,
        recipe: str,
        overrides: Sequence[str],
        windows: Windows,
        crops: Crops = "centre",
    ) -> Classified:
        """Train all of the network on the training videos, and return what it says of the others.

        Args:
            weights: To begin with; ``random`` is training from scratch.
            recipe: Name or path of a recipe for `vidssl finetune`.
            overrides: What is different from it, ``key=value``.
            windows: Clips of each test video.
            crops: Squares of each clip.

        A network that was trained before, into the study's folder, is not trained again.
        """
        ...

    def own_task(self, weights: str) -> OwnTask:
        """Return how well the run does its pretext tasks on the videos of the test split."""
        ...


class Evaluator(Protocol):
    """One evaluation protocol."""

    def __call__(self, study: Study) -> Report:
        """Carry out the protocol."""
        ...


@hookspec
def vidssl_backbones() -> Iterable[type[BackboneOptions]]:  # type: ignore[empty-body]
    """Offer backbones to recipes."""


@hookspec
def vidssl_samplers() -> Iterable[type[SamplerOptions]]:  # type: ignore[empty-body]
    """Offer samplers to recipes."""


@hookspec
def vidssl_pretexts() -> Iterable[type[PretextOptions]]:  # type: ignore[empty-body]
    """Offer pretext tasks to recipes."""


@hookspec
def vidssl_evaluators() -> Iterable[type[EvaluatorOptions]]:  # type: ignore[empty-body]
    """Offer evaluation protocols to `vidssl evaluate`."""


@hookspec
def vidssl_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Offer folders of recipes; their files can be named without path and suffix."""


@hookspec
def vidssl_published() -> Iterable[Path]:  # type: ignore[empty-body]
    """Offer folders of published figures; docs/evaluation.md describes their files."""
