"""What the options of several backbones have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from vidssl_cli.contract.hooks import BackboneOptions, Options, PublicWeights
from vidssl_plugins.backbones.options.tgn import TGN

if TYPE_CHECKING:
    from torch import nn


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

        from vidssl_cli.contract.batch_norm import SyncBatchNorm3d

        kind = SyncBatchNorm3d if self.sync else nn.BatchNorm3d
        return kind(channels, eps=self.eps, momentum=self.momentum)


Norm = Annotated[BatchNorm | TGN, Field(discriminator="name")]


class NormalisedBackbone(BackboneOptions):
    """A backbone whose layers are normalised."""

    norm: Norm = BatchNorm(name="bn")
    """How the output of a convolution is normalised."""


class ResidualBackbone(NormalisedBackbone):
    """What residual networks share."""

    width: PositiveInt = 64
    """Channels of the first stage; the representation has 8 times as many. 16 to 32 suit a CPU."""


KINETICS: Mapping[str, Any] = {
    "mean": (0.43216, 0.394666, 0.37645),
    "std": (0.22803, 0.22145, 0.216989),
    "fps": 15,
}
"""What all of torchvision's weights for Kinetics-400 were trained to see."""


def torchvision(name: str, stem: tuple[tuple[str, str], ...]) -> PublicWeights:
    """Describe torchvision's weights of an 18-layer network, trained on Kinetics-400."""
    blocks = (
        (r"\.conv1\.([01])\.", r".residual.\1."),
        (r"\.conv2\.0\.", ".residual.3."),
        (r"\.conv2\.1\.", ".residual.4."),
        (r"\.downsample\.", ".shortcut."),
    )
    stages = tuple((rf"^layer{number}\.", f"conv{number + 1}.") for number in range(1, 5))
    return PublicWeights(
        source=f"torchvision {name}",
        names=(*blocks, *stages, *stem),
        left=r"^fc\.",
        input={"resize": (128, 171), "crop": 112, **KINETICS},
        frames=16,
    )
