"""The menu of pretext tasks: what is learned from the samplers' free labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from vidssl_cli.hooks import PretextContext, PretextOptions, Stream, hookimpl

if TYPE_CHECKING:
    from vidssl_cli.hooks import Pretext


class ClassifyOptions(PretextOptions):
    """How a free label is told: by cross entropy on linear layers with ReLU between them."""

    tap: str = "feat"
    """Layer that the head reads."""
    reduce: Literal["mean", "max_space"] = "mean"
    """How a map becomes a vector: averaged over time and space, or the maximum over space averaged
    over time (SpeedNet)."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of the head's hidden layers."""
    norm: bool = False
    """Put batch norm before the ReLU of every hidden layer."""


class Classify(ClassifyOptions):
    """Tells any label that the sampler offers for free: speed, direction, order or rotation."""

    name: Literal["classify"]
    label: str
    """The label, one of the sampler's that has classes."""
    over: Literal["clip", "video"] = "clip"
    """``clip`` tells a label that each clip has; ``video`` tells one that the video has, such as
    the order of its views, from all of them together."""

    def required(self) -> frozenset[str]:
        """Return the one label."""
        return frozenset({self.label})

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.classify import ClassifyPretext

        return ClassifyPretext(self, context)


class Pace(ClassifyOptions):
    """Tells the pace of a clip (Wang, thesis 2020, section 4.3; Wang, Jiao, Liu 2020)."""

    needs: ClassVar[frozenset[str]] = frozenset({"pace"})
    label: ClassVar[str] = "pace"
    over: ClassVar[str] = "clip"

    name: Literal["pace"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.classify import ClassifyPretext

        return ClassifyPretext(self, context)


class TemporalTransforms(PretextOptions):
    """Tells the temporal transformation of a clip, and its speed where it has one.

    Jenni, Meishvili, Favaro 2020, section 3.2.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"transform", "speed"})

    name: Literal["temporal_transforms"]
    tap: str = "feat"
    """Layer that the linear head reads; a map is averaged over time and space."""
    weighting: Literal["literal", "released"] = "literal"
    """``literal`` adds the mean loss of each transformation type, as equation (1) does: the motion
    term is types times the mean over all clips. ``released`` weighs motion and speed alike."""
    speed_on: tuple[Literal["speed", "periodic"], ...] = ("speed",)
    """Types whose clips count in the speed term: the paper's speed clips, or periodic ones too
    (released code); empty for no speed term."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.temporal_transforms import TemporalTransformsPretext

        return TemporalTransformsPretext(self, context)


class ContrastOptions(PretextOptions):
    """How clips that belong together are told from all others.

    The default is the thesis's: raw dot products of pooled features, one denominator for the
    whole batch. Ordinary InfoNCE is ``{normalise: true, temperature: 0.1, denominator: anchor,
    proj_dim: 128}``.
    """

    tap: str = "feat"
    """Layer that is compared; a map is averaged over time and space."""
    proj_dim: PositiveInt | None = None
    """Numbers of the projection that is compared; none compares the tap itself. Without hidden
    layers it is one linear layer with ReLU."""
    proj_hidden: tuple[PositiveInt, ...] = ()
    """Widths of the projection's hidden layers, each with ReLU; its last layer is then linear."""
    proj_norm: bool = False
    """Put batch norm before the ReLU of every hidden layer."""
    normalise: bool = False
    """Compare by cosine instead of by dot product."""
    temperature: PositiveFloat = 1
    """Divides similarities."""
    denominator: Literal["global", "anchor", "single_log"] = "global"
    """Which similarities a positive pair competes with: all of the batch, those of its own anchor
    (InfoNCE), or one ratio of all positive to all pairs."""
    stop_gradient: bool = False
    """Let the gradient flow through anchors alone, not through what they are compared with."""


class SameContext(ContrastOptions):
    """Tells clips of one video from clips of other videos (Wang, thesis 2020, section 4.3)."""

    needs_views: ClassVar[int] = 2

    name: Literal["same_context"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, if there is one."""
        from vidssl_plugins.pretexts.same import SameContextPretext

        return SameContextPretext(self, context)


class SamePace(ContrastOptions):
    """Tells clips at one pace from clips at other paces (Wang, thesis 2020, section 4.3)."""

    needs: ClassVar[frozenset[str]] = frozenset({"pace"})

    name: Literal["same_pace"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection, if there is one."""
        from vidssl_plugins.pretexts.same import SamePacePretext

        return SamePacePretext(self, context)


class Statistics(PretextOptions):
    """Tells where, in which direction and when a clip moves most, and where its colours change.

    Wang, thesis 2020, chapters 2 and 3; Wang et al. 2019, https://arxiv.org/abs/1904.03597. The
    labels are numbers of blocks, directions, colours and frames, told by regression.
    """

    name: Literal["statistics"]
    motion: NonNegativeFloat = 1
    """Weight of the motion labels; 0 leaves them out, and needs no optical flow."""
    appearance: NonNegativeFloat = 0.1
    """Weight of the appearance labels; 0 leaves them out."""
    patterns: tuple[Literal[1, 2, 3], ...] = (1, 2, 3)
    """How frames are cut into blocks, each a set of labels: 1 is a grid of 4 by 4, 2 is four nested
    frames, 3 is eight triangles."""
    whole: bool = True
    """Labels of the whole clip too: the moments of most motion, and the dominant colour."""
    soft_bins: bool = False
    """Split motion between the two bins of direction whose middles are nearest, much as the
    released code does, instead of giving it to one."""
    iou: Literal["channels", "joint8"] = "channels"
    """Histograms whose change is measured: one each of red, green and blue (released code), or one
    of the eight colours that halving each channel makes."""
    bins: Annotated[int, Field(ge=2, le=256)] = 256
    """Bins of the histogram of a channel."""
    loss: Literal["mse", "l2norm"] = "mse"
    """Mean squared error (released code), or the mean length of a clip's error, as printed."""
    tap: str = "feat"
    """Layer that the heads read; a map is averaged over time and space."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of each head's hidden layers (chapter 2: [2048, 2048])."""

    @field_validator("patterns")
    @classmethod
    def _ordered(cls, patterns: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(patterns)) < len(patterns):
            raise ValueError(f"the patterns {', '.join(map(str, patterns))} are not all different")
        return tuple(sorted(patterns))

    @model_validator(mode="after")
    def _something_to_tell(self) -> Self:
        if not (self.patterns or self.whole):
            raise ValueError("no labels are left; name a pattern or set whole")
        if not (self.motion or self.appearance):
            raise ValueError("motion and appearance are both 0; one of them must count")
        return self

    def streams(self) -> frozenset[Stream]:
        """Ask for flow and for pixels, where their labels count."""
        asked: dict[Stream, float] = {"flow": self.motion, "pixels": self.appearance}
        return frozenset(stream for stream, weight in asked.items() if weight)

    def build(self, context: PretextContext) -> Pretext:
        """Build the heads."""
        from vidssl_plugins.pretexts.statistics import StatisticsPretext

        return StatisticsPretext(self, context)


@hookimpl
def vidssl_pretexts() -> list[type[PretextOptions]]:
    """Offer the built-in pretext tasks."""
    return [Classify, Pace, TemporalTransforms, SameContext, SamePace, Statistics]
