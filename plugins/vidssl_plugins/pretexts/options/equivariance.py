"""Options of `equivariance`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions


class Equivariance(PretextOptions):
    """Contrasts couples of videos that have one relative transformation with all others.

    Jenni, Jin 2021, section 3. A head maps the two clips of a video to a vector that describes the
    relation between them; vectors of a couple are contrasted with those of other couples, by
    cosine.
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

        return EquivariancePretext(
            context,
            tap=self.tap,
            hidden=self.hidden,
            dim=self.dim,
            norm=self.norm,
            temperature=self.temperature,
            stop_gradient=self.stop_gradient,
            mask_equal_relations=self.mask_equal_relations,
        )
