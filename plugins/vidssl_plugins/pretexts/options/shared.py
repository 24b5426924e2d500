"""What the options of several pretext tasks have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import PretextOptions
from vidssl_cli.contract.projection import Projection


class ClassifyOptions(PretextOptions):
    """How a label is classified: by cross entropy on linear layers with ReLU between them."""

    tap: str = "feat"
    """Layer that the head reads."""
    reduce: Literal["mean", "max_space"] = "mean"
    """How a map becomes a vector: averaged over time and space, or the maximum over space averaged
    over time (SpeedNet)."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of the head's hidden layers."""
    norm: bool = False
    """Put batch norm before the ReLU of every hidden layer."""


class ProjectionOptions(PretextOptions):
    """What is compared of a clip."""

    tap: str = "feat"
    """Layer that is compared; a map is averaged over time and space."""
    proj_dim: PositiveInt | None = None
    """Numbers of the projection that is compared; none compares the tap itself. Without hidden
    layers it is one linear layer with ReLU."""
    proj_hidden: tuple[PositiveInt, ...] = ()
    """Widths of the projection's hidden layers, each with ReLU; its last layer is then linear."""
    proj_norm: bool = False
    """Put batch norm before the ReLU of every hidden layer."""

    def projection(self) -> Projection | None:
        """Return the layers, if there are any."""
        if self.proj_dim is None:
            return None
        return Projection(
            tap=self.tap, hidden=self.proj_hidden, dim=self.proj_dim, norm=self.proj_norm
        )


class ContrastOptions(ProjectionOptions):
    """How clips of one group are contrasted with all others.

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
