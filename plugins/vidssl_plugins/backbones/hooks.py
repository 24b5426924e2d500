"""The menu of backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from vidssl_cli.hooks import BackboneOptions, hookimpl

if TYPE_CHECKING:
    from vidssl_cli.hooks import Backbone


class R3D(BackboneOptions):
    """Residual network of 3-D convolutions (Tran et al. 2018, https://arxiv.org/abs/1711.11248).

    Depth 10 has one block per stage. It is what the clip-order, pace and playback-speed papers
    call R3D or R3D-18 and give 14.4 M parameters; depth 18 has 33.2 M and 34 has 63.5 M.
    """

    name: Literal["r3d"]
    depth: Literal[10, 18, 34] = 18
    """Layers with weights, the classifier counted."""
    width: PositiveInt = 64
    """Channels of the first stage; the representation has 8 times as many. 16 to 32 suit a CPU."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.r3d import r3d

        return r3d(self.depth, self.width)


@hookimpl
def vidssl_backbones() -> list[type[BackboneOptions]]:
    """Offer the built-in backbones."""
    return [R3D]
