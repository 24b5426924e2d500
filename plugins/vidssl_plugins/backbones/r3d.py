"""R3D: residual networks of full 3-D convolutions (Tran et al. 2018, section 3.2).

Clips of 3 x 16 x 112 x 112 give taps of 64 x 16 x 56 x 56 (twice), 128 x 8 x 28 x 28,
256 x 4 x 14 x 14 and 512 x 2 x 7 x 7 at the full width.
"""

from __future__ import annotations

from torch import nn

from vidssl_plugins.backbones.resnet import (
    BLOCKS,
    BasicBlock,
    NormMaker,
    VideoResNet,
    doubling,
    full_conv,
)


def r3d(depth: int, width: int, norm: NormMaker) -> VideoResNet:
    """Build R3D of a depth in ``BLOCKS``; its representation has 8 x width numbers."""

    def block(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(full_conv, norm, channels_in, channels, stride)

    stem = nn.Sequential(
        nn.Conv3d(3, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        norm(width),
        nn.ReLU(inplace=True),
    )
    return VideoResNet(stem, [block] * 4, BLOCKS[depth], doubling(width))
