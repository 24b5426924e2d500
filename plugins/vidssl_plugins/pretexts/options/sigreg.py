"""Options of `sigreg`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions


class SIGReg(ProjectionOptions):
    """Clips of one video agree, and all of a batch look Gaussian (Balestriero, LeCun 2025, LeJEPA).

    https://arxiv.org/abs/2511.08544; on video LeVJEPA, https://arxiv.org/abs/2608.27395. Vectors
    are projected onto random directions; along each, the test of Epps and Pulley tells how far
    they are from a standard normal distribution. There are neither negatives nor a slow copy.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["sigreg"]
    proj_dim: PositiveInt | None = 64
    """Numbers of the projection that is compared; none compares the tap itself."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers."""
    proj_norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""
    strength: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Weight of the test, lambda; agreement has what is left of 1. LeJEPA has 0.05, LeVJEPA
    0.02."""
    directions: PositiveInt = 256
    """Random directions of a step; 256 or 1024 in LeJEPA."""
    drop: Annotated[float, Field(ge=0, lt=1)] = 0
    """Share of the tubelets that every clip leaves out, each at places of its own; what is compared
    is then the average of the other tokens, and no tap. LeVJEPA leaves out 0.95. It needs a
    backbone of tokens such as `vit`."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection."""
        from vidssl_plugins.pretexts.sigreg import SIGRegPretext

        return SIGRegPretext(self, context, self.strength, self.directions, self.drop)
