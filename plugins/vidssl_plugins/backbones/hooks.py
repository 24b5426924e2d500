"""The menu of backbones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.hooks import BackboneOptions, Options, hookimpl

if TYPE_CHECKING:
    from torch import nn

    from vidssl_cli.hooks import Backbone


class BatchNorm(Options):
    """Batch normalisation: one mean and variance for all frames of a clip."""

    name: Literal["bn"]
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of a batch in the running statistics that evaluation uses."""
    eps: PositiveFloat = 1e-5
    """Added to the variance."""
    sync: bool = False
    """Take the statistics of training over all processes, not over each one's part of a batch."""

    def build(self, channels: int) -> nn.Module:
        """Build one layer."""
        from torch import nn

        from vidssl_plugins.backbones.norm import SyncBatchNorm3d

        kind = SyncBatchNorm3d if self.sync else nn.BatchNorm3d
        return kind(channels, eps=self.eps, momentum=self.momentum)


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
    """Most groups of a training clip: what the state has room for, whatever the clips' length."""

    def build(self, channels: int) -> nn.Module:
        """Build one layer."""
        from vidssl_plugins.backbones.tgn import TemporalGroupNorm

        return TemporalGroupNorm(channels, **self.model_dump(exclude={"name"}))


Norm = Annotated[BatchNorm | TGN, Field(discriminator="name")]


class NormalisedBackbone(BackboneOptions):
    """A backbone whose layers are normalised."""

    norm: Norm = BatchNorm(name="bn")
    """How the output of a convolution is normalised."""


class R3D(NormalisedBackbone):
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

        return r3d(self.depth, self.width, self.norm.build)


@hookimpl
def vidssl_backbones() -> list[type[BackboneOptions]]:
    """Offer the built-in backbones."""
    return [R3D]
