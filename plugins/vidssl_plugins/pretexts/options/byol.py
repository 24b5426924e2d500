"""Options of `byol`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions


class BYOL(ProjectionOptions):
    """Predicts what a slow copy gives for another clip of the video (Grill et al. 2020, BYOL).

    https://arxiv.org/abs/2006.07733; on video rho-BYOL, Feichtenhofer et al. 2021,
    https://arxiv.org/abs/2104.14558. There are no negatives: the predictor and the slow copy keep
    the vectors from becoming equal. The paper's momentum begins at 0.996 and rises to 1 along a
    cosine; here it is constant.
    """

    needs_views: ClassVar[int] = 2

    name: Literal["byol"]
    proj_dim: PositiveInt = 256
    """Numbers of the projection that is predicted."""
    proj_hidden: tuple[PositiveInt, ...] = (512,)
    """Widths of the projection's hidden layers; the paper has 4096."""
    proj_norm: bool = True
    """Put batch norm before the ReLU of every hidden layer, the predictor's too."""
    predictor_hidden: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (512,)
    """Widths of the predictor's hidden layers; the paper has 4096."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Share of its weights that the slow copy keeps at each step. Batch norms of the copy use the
    statistics of its own batch, in each process those of its part."""

    def build(self, context: PretextContext) -> Pretext:
        """Build projection, predictor and the slow copy."""
        from vidssl_plugins.pretexts.byol import BYOLPretext

        predictor = [self.proj_dim, *self.predictor_hidden, self.proj_dim]
        return BYOLPretext(self, context, predictor, self.momentum)
