"""The menu of pretext tasks: what is learned from the samplers' free labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import PretextContext, PretextOptions, hookimpl
from vidssl_plugins.pretexts.options.memory import SSTL, Instance
from vidssl_plugins.pretexts.options.projection import ProjectionOptions
from vidssl_plugins.pretexts.options.statistics import Statistics

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import Pretext


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

    def title(self) -> str:
        """Name the label, since a recipe may tell several."""
        return f"{self.name}.{self.label}"

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
    """Layer that the head reads; a map is averaged over time and space."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of the head's hidden layers; C3D has two of 2048."""
    norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""
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


class ContrastOptions(ProjectionOptions):
    """How clips that belong together are told from all others.

    The default is the thesis's: raw dot products of pooled features, one denominator for the
    whole batch. Ordinary InfoNCE is ``{normalise: true, temperature: 0.1, denominator: anchor,
    proj_dim: 128}``.
    """

    normalise: bool = False
    """Compare by cosine instead of by dot product."""
    temperature: PositiveFloat = 1
    """Divides similarities."""
    denominator: Literal["global", "anchor", "single_log"] = "global"
    """Which similarities a positive pair competes with: all of the batch, those of its own anchor
    (InfoNCE), or one ratio of all positive to all pairs."""
    stop_gradient: bool = False
    """Let the gradient flow through anchors alone, not through what they are compared with."""


class Equivariance(PretextOptions):
    """Tells couples of videos with one relative transformation from all others.

    Jenni, Jin 2021, section 3. A head maps the two clips of a video to a vector that says what lies
    between them; vectors of a couple are contrasted with those of other couples, by cosine.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"couple", "relation"})
    needs_views: ClassVar[int] = 2

    name: Literal["equivariance"]
    tap: str = "feat"
    """Layer that is compared; a map is averaged over time and space."""
    hidden: tuple[PositiveInt, ...] | None = None
    """Widths of the head's hidden layers; none stands for two as wide as the layer."""
    dim: PositiveInt | None = None
    """Numbers of the vector; none stands for as many as the layer has."""
    norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""
    temperature: PositiveFloat = 0.1
    """Divides similarities."""
    stop_gradient: bool = True
    """Let the gradient flow through anchors alone, not through what they are compared with."""
    mask_equal_relations: bool = True
    """Leave out couples that happened to draw the same relation; otherwise they are negatives."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.equivariance import EquivariancePretext

        return EquivariancePretext(self, context)


class Order(PretextOptions):
    """Tells in which order the views of a video are shown, from their features.

    Views are in a canonical order: clips by ascending speed (Cho et al. 2020), or by time (clip
    order prediction, Xu et al. 2019). The head compares all pairs of clips.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["order"]
    tap: str = "feat"
    """Layer that the head reads; a map is averaged over time and space."""
    hidden: PositiveInt = 512
    """Numbers that each pair of clips is mapped to."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of these numbers that is dropped before the classifier."""
    orders: Literal["all", "random"] = "all"
    """Show every order of the clips in each step (Cho et al.), which costs the head alone, or the
    one that the sampler drew as its label ``permutation`` (Xu et al.)."""

    def required(self) -> frozenset[str]:
        """Return the label of the drawn order, if one is drawn."""
        return frozenset({"permutation"}) if self.orders == "random" else frozenset()

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.order import OrderPretext

        return OrderPretext(self, context)


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


@hookimpl
def vidssl_pretexts() -> list[type[PretextOptions]]:
    """Offer the built-in pretext tasks."""
    return [
        Classify,
        Pace,
        TemporalTransforms,
        Equivariance,
        Order,
        SameContext,
        SamePace,
        Instance,
        SSTL,
        Statistics,
    ]
