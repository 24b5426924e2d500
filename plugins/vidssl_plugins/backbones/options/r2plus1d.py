"""Options of `r2plus1d`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import ResidualBackbone, torchvision


class R2Plus1D(ResidualBackbone):
    """Residual network of spatial and temporal convolutions in turn (Tran et al. 2018).

    Depth 10 is what the clip-order, pace and playback-speed papers call R(2+1)D and give 14.4 M
    parameters; depth 18 is torchvision's with 31.3 M.
    """

    public: ClassVar = torchvision(
        "r2plus1d_18",
        ((r"^stem\.([013])\.", r"conv1.0.\1."), (r"^stem\.4\.", "conv1.1.")),
    )

    name: Literal["r2plus1d"]
    depth: Literal[10, 18] = 18
    """Layers with weights, the classifier counted."""
    mid_width: Literal["conv", "block"] | None = None
    """Channels between a pair of convolutions: fitted to each pair, with pairs in shortcuts too, or
    to a block, with plain shortcuts. Null is ``conv`` for depth 10 and ``block`` for depth 18."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r2plus1d import r2plus1d

        mid_width = self.mid_width or ("conv" if self.depth == 10 else "block")
        return r2plus1d(self.depth, self.width, mid_width, self.norm.build)
