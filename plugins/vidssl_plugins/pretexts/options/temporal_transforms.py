"""Options of `temporal_transforms`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions


class TemporalTransforms(PretextOptions):
    """Classifies the temporal transformation of a clip, and its speed where it has one.

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

        return TemporalTransformsPretext(
            context,
            tap=self.tap,
            hidden=self.hidden,
            norm=self.norm,
            weighting=self.weighting,
            speed_on=self.speed_on,
        )
