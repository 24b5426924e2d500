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

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import pluggy
from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from vidssl_cli.contract.projection import Projection
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.contract.clips import Batch, Sampler
    from vidssl_cli.contract.videos import Video

hookspec = pluggy.HookspecMarker("vidssl")
hookimpl = pluggy.HookimplMarker("vidssl")

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
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the backbone that they ask for, where its defaults are others."""
    stride: int = 1
    """Distance in frames between two frames of a clip."""
    convert: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    """What names cannot say, such as joining tensors; it is called with the renamed ones."""


class BackboneOptions(Options):
    """Chooses a backbone."""

    public: ClassVar[PublicWeights | None] = None
    """Files of weights of others that fit this backbone."""

    @classmethod
    def described(cls, config: Mapping[str, Any], names: Collection[str]) -> PublicWeights | None:
        """Say what weights are that come with a `config.json`, as Hugging Face's do.

        Args:
            config: its content.
            names: of the tensors.

        Returns:
            Which options they ask for, and how they become the backbone's; None if they are
            another's.

        Raises:
            UsageError: they are for a variant that this backbone does not have.
        """
        return None

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

    def projection(self) -> Projection | None:
        """Describe the module ``projection`` of the pretext, which a run then keeps as a tap."""
        return None

    def build(self, context: PretextContext) -> Pretext:
        """Build heads and state, randomly initialised."""
        raise NotImplementedError


class EvaluatorOptions(Options):
    """Chooses an evaluation protocol."""

    def build(self) -> Evaluator:
        """Build the evaluator."""
        raise NotImplementedError


class LoggerOptions(Options):
    """Chooses where the metrics of a run go besides its metrics.jsonl."""

    def build(self, run: LoggedRun) -> Logger:
        """Begin to log a run, or go on; raise whatever hinders it."""
        raise NotImplementedError


class DecoderOptions(Options):
    """Chooses what decodes video files instead of PyAV: `--decoder`."""

    def build(self, device: str) -> Decoder:
        """Build the decoder.

        Args:
            device: where the network computes, such as ``cpu`` or ``cuda:1``.

        Raises:
            VidsslError: it cannot be used on this machine.
        """
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


class TokenBackbone(Backbone, Protocol):
    """A backbone that cuts clips into tubelets, of which it can leave out some."""

    tubelet: tuple[int, int, int]
    """Frames, rows and columns of a tubelet."""

    def __call__(self, clips: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Return every tap; or with ``keep`` the tap ``tokens`` alone, (N, n, feature_dim).

        ``keep`` (N, n) has the numbers of the tubelets of each clip that are seen, in the order of
        time, rows and columns. What is in the others makes no difference.
        """
        ...


class Encode(Protocol):
    """Runs a network on clips as the learning network runs, in the same precision."""

    def __call__(
        self, network: Backbone, clips: Tensor, keep: Tensor | None = None
    ) -> Mapping[str, Tensor]:
        """Return taps (B, V, …) of clips (B, V, C, T, H, W); ``keep`` is (B, V, n)."""
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
    """The network that learns, for pretexts that keep a copy of it, or run it on a part of a clip;
    not to be made a submodule."""
    encode: Encode | None = None
    """Runs either."""


class Pretext(Protocol):
    """A torch module: heads, losses, and whatever state they own (in buffers).

    If it has a method ``after_step()``, that is called after every optimizer step. If it has a
    method ``discard_step()``, that is called instead where the step is not taken, since the loss is
    not finite: what `after_step` would have learned must be forgotten. If it tells
    classes apart and has a method ``predictions(features, batch)``, that is called in evaluation
    alone, and returns by label of the sampler two tensors of class numbers, (N,) what it tells and
    (N,) what is true, ABSENT where the label does not apply. Such a task may also have a method
    ``decisions(features)``, for pictures of what a decision rests on: by label logits (B, V, K) of
    each clip, or (B, K) where all clips of a video are decided about together; nothing, where V
    is another number of clips than it takes.
    """

    def __call__(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Map taps (B, V, …) and a batch to named loss terms and named metrics, all scalars."""
        ...


class Evaluator(Protocol):
    """One evaluation protocol."""

    def __call__(self, study: Study) -> Report:
        """Measure by the protocol, and return the report."""
        ...


RunState = Literal["finished", "preempted", "interrupted", "failed"]
"""How training ends."""


@dataclass(frozen=True)
class LoggedRun:
    """What a logger may know of a run."""

    id: str
    """Names it in other programs: letters and digits, the same whenever the run goes on."""
    folder: Path
    """The run directory; runs are known by its name."""
    files: Path
    """The folder for a logger's own files, in the run directory and deleted with it."""
    recipe: Mapping[str, Any]
    """Every key of the recipe."""
    first_step: int
    """The first step of this session, 1 where the run does not go on. Where an earlier session was
    stopped between two checkpoints, it has logged that step and perhaps later ones already."""


class Logger(Protocol):
    """Sends metrics somewhere; each works in a thread of its own, for which training never waits.

    Whatever it raises is told once, and ends the logging, not the training.
    """

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Send rows, in their order.

        Each has ``step``, from 1, and ``epoch``, from 0. The other numbers are loss, its terms,
        metrics and learning rate of the step, or, named ``epoch.…``, means over the epoch.
        """
        ...

    def close(self, state: RunState) -> None:
        """Bring everything to its place; the process may end soon afterwards."""
        ...


class Decoder(Protocol):
    """Decodes video files, in any number of threads."""

    def __call__(
        self, video: Video, frames: Sequence[int], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Return the frames of those numbers, ascending and each once, as (T, 3, *size) uint8.

        Frame k is the k-th that decodes. Pictures are upright, scaled linearly and without
        aliasing, and have planes of red, green and blue. A video with which it fails, by any
        exception, is decoded by PyAV.
        """
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
def vidssl_loggers() -> Iterable[type[LoggerOptions]]:  # type: ignore[empty-body]
    """Offer loggers to recipes and to `--logger`."""


@hookspec
def vidssl_decoders() -> Iterable[type[DecoderOptions]]:  # type: ignore[empty-body]
    """Offer decoders of video files to `--decoder`."""


@hookspec
def vidssl_recipes() -> Iterable[Path]:  # type: ignore[empty-body]
    """Offer folders of recipes; their files can be named without path and suffix."""


@hookspec
def vidssl_published() -> Iterable[Path]:  # type: ignore[empty-body]
    """Offer folders of published figures; docs/evaluation.md describes their files."""
