"""What maps a tap to the vectors that a pretext task compares."""

from __future__ import annotations

from torch import nn

from vidssl_plugins.pretexts.options.shared import ProjectionOptions


def projection(options: ProjectionOptions, dim: int) -> nn.Module:
    """Build what maps vectors of ``dim`` numbers to those that are compared."""
    layers = options.projection()
    return layers.build(dim) if layers else nn.Identity()
