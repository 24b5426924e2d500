"""MC3: stem and first stage convolve in space and time, the rest in space alone (Tran et al. 2018).

Time keeps its length: clips of 3 x 16 x 112 x 112 give taps of 64 x 16 x 56 x 56 (twice),
128 x 16 x 28 x 28, 256 x 16 x 14 x 14 and 512 x 16 x 7 x 7 at the full width.
"""

from __future__ import annotations

from torch import nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork
from vidssl_plugins.backbones.shared.resnet import (
    BLOCKS,
    BasicBlock,
    doubling,
    full_conv,
    spatial_conv,
    stem_conv,
    video_resnet,
)


def mc3(width: int, norm: NormMaker) -> StagedNetwork:
    """Build MC3 with 18 layers; its representation has 8 x width numbers."""

    def deep(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(full_conv, norm, channels_in, channels, stride)

    def flat(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(spatial_conv, norm, channels_in, channels, stride)

    stages = [deep, flat, flat, flat]
    return video_resnet(stem_conv(width, 3, norm), stages, BLOCKS[18], doubling(width))
