"""Options of `c3d`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import NormalisedBackbone


class C3D(NormalisedBackbone):
    """C3D with eight convolutions: 27.7 M parameters (clip order, playback speed, curriculum).

    Unlike that of Tran et al. 2015 (https://arxiv.org/abs/1412.0767) it has batch norm.
    """

    name: Literal["c3d"]
    width: PositiveInt = 64
    """Channels of the first convolution; the representation has 8 times as many."""
    temporal_pool: Literal["standard", "psp_table1"] = "standard"
    """Where time is halved: behind stages 2, 3 and 4, or 1, 2 and 3 as Cho 2020 lists sizes."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.c3d import c3d

        return c3d(self.width, self.temporal_pool, self.norm.build)
