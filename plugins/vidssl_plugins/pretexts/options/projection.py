"""Options of what contrast compares."""

from __future__ import annotations

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import PretextOptions


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
