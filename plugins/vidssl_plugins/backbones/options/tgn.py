"""Options of the norm `tgn`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import Options

if TYPE_CHECKING:
    from torch import nn


class TGN(Options):
    """Temporal group normalisation: a mean and variance for each group of consecutive frames.

    Cho, Kim, Chang, Hwang 2020. It takes the place of every batch norm of a backbone. Weights
    fit clips of any length; groups beyond those that were trained are treated like the last one.
    """

    name: Literal["tgn"]
    frames: PositiveInt = 2
    """g, frames of a group, counted at the layer's own temporal resolution; all of a clip is bn."""
    affine: Literal["channel", "group"] = "channel"
    """Whether scale and offset are learned per channel, or for each group of its own."""
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of a batch in the running statistics that evaluation uses."""
    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    sync: bool = False
    """Take the statistics of training over all processes, not over each one's part of a batch."""
    groups: PositiveInt = 64
    """Most groups of a training clip: the size of the state, whatever the clips' length."""

    def build(self, channels: int) -> nn.Module:
        """Build one layer."""
        from vidssl_plugins.backbones.tgn import TemporalGroupNorm

        return TemporalGroupNorm(
            channels,
            self.frames,
            self.affine,
            momentum=self.momentum,
            eps=self.eps,
            sync=self.sync,
            groups=self.groups,
        )
