"""Options of `r2d3d`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import ResidualBackbone


class R2D3D(ResidualBackbone):
    """Residual network whose first half sees single frames (Han et al. 2019, DPC).

    31.8 M parameters at depth 18. The released code of temporal transformations calls it
    3D-ResNet18.
    """

    name: Literal["r2d3d"]
    depth: Literal[18, 34] = 18
    """Layers with weights, the classifier counted."""
    last_width: Literal[4, 8] = 8
    """Channels of the last stage in multiples of ``width``; 4 is DPC's, with 14.1 M parameters."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r2d3d import r2d3d

        return r2d3d(self.depth, self.width, self.last_width, self.norm.build)
