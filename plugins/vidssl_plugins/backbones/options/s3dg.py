"""Options of `s3dg`."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import NormalisedBackbone


class S3DG(NormalisedBackbone):
    """Separable inception network with gates: 9.1 M parameters (Xie et al. 2018).

    https://arxiv.org/abs/1712.04851
    """

    name: Literal["s3dg"]
    width: PositiveInt = 64
    """Channels of the first convolution; the representation has 16 times as many."""
    stem: Literal["plain", "separable"] = "plain"
    """First convolution: 3 x 7 x 7 as in the pace paper's code, or 1 x 7 x 7 and 7 x 1 x 1."""
    gate: bool = True
    """Weigh channels by the content of the whole clip; without, the network is called S3D."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.s3dg import s3dg

        return s3dg(self.width, self.stem, self.gate, self.norm.build)
