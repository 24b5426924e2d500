"""Options of `r3d`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import ResidualBackbone, torchvision


class R3D(ResidualBackbone):
    """Residual network of 3-D convolutions (Tran et al. 2018, https://arxiv.org/abs/1711.11248).

    Depth 10 has one block per stage. It is what the clip-order, pace and playback-speed papers
    call R3D or R3D-18 and give 14.4 M parameters; depth 18 has 33.2 M and 34 has 63.5 M.
    """

    public: ClassVar = torchvision("r3d_18", ((r"^stem\.", "conv1."),))

    name: Literal["r3d"]
    depth: Literal[10, 18, 34] = 18
    """Layers with weights, the classifier counted."""
    stem: Literal["tran", "hara", "sstl"] = "tran"
    """3 x 7 x 7; or 7 x 7 x 7 and max-pooling (Hara et al. 2018); or the first with the pooling."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r3d import r3d

        return r3d(self.depth, self.width, self.stem, self.norm.build)
