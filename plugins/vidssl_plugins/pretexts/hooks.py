"""The menu of pretext tasks: what is learned from the samplers' free labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from vidssl_cli.hooks import PretextContext, PretextOptions, hookimpl

if TYPE_CHECKING:
    from vidssl_cli.hooks import Pretext


class Pace(PretextOptions):
    """Tells the pace of a clip (Wang, thesis 2020, section 4.3; Wang, Jiao, Liu 2020)."""

    needs: ClassVar[frozenset[str]] = frozenset({"pace"})

    name: Literal["pace"]
    tap: str = "feat"
    """Layer that the linear head reads; a map is averaged over time and space."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_plugins.pretexts.pace import PacePretext

        return PacePretext(self, context)


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
    """Outputs of a linear layer with ReLU before the comparison; none compares the tap itself."""
    normalise: bool = False
    """Compare by cosine instead of by dot product."""
    temperature: PositiveFloat = 1
    """Divides similarities."""
    denominator: Literal["global", "anchor", "single_log"] = "global"
    """Which similarities a positive pair competes with: all of the batch, those of its own anchor
    (InfoNCE), or one ratio of all positive to all pairs."""


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
    return [Pace, TemporalTransforms, SameContext, SamePace]
