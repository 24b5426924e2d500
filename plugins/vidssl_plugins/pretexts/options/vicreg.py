"""Options of `vicreg`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions


class VICReg(ProjectionOptions):
    """Clips of one video agree, and no direction dies, without negatives (Bardes et al. 2022).

    https://arxiv.org/abs/2105.04906. Weighted sum of three terms: the mean square between clips of
    one visit; how much the deviation of each dimension over the batch falls short of 1; and the
    squares of the covariances between dimensions.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["vicreg"]
    proj_dim: PositiveInt | None = 512
    """Numbers of the projection that is compared; none compares the tap itself."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers; the paper has 8192, 8192 and then 8192."""
    proj_norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""
    invariance: NonNegativeFloat = 25
    """Weight of the first term."""
    variance: NonNegativeFloat = 25
    """Weight of the second."""
    covariance: NonNegativeFloat = 1
    """Weight of the third."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the projection."""
        from vidssl_plugins.pretexts.vicreg import VICRegPretext

        return VICRegPretext(self, context, self.invariance, self.variance, self.covariance)
