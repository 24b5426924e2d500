"""Options of `mc3`."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidssl_cli.contract.hooks import Backbone
from vidssl_plugins.backbones.options.shared import ResidualBackbone, torchvision


class MC3(ResidualBackbone):
    """Residual network of mixed convolutions: time in the first half alone (Tran et al. 2018).

    https://arxiv.org/abs/1711.11248. 11.5 M parameters; torchvision has its weights.
    """

    public: ClassVar = torchvision("mc3_18", ((r"^stem\.", "conv1."),))

    name: Literal["mc3"]

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.mc3 import mc3

        return mc3(self.width, self.norm.build)
