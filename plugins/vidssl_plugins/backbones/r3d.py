"""R3D: residual networks of full 3-D convolutions (Tran et al. 2018, section 3.2).

Clips of 3 x 16 x 112 x 112 give taps of 64 x 16 x 56 x 56 (twice), 128 x 8 x 28 x 28,
256 x 4 x 14 x 14 and 512 x 2 x 7 x 7 at the full width.
"""

from __future__ import annotations

from torch import nn

from vidssl_plugins.backbones.resnet import VideoResNet

BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage by depth."""


def full_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
    """Make a convolution over time and space together."""
    return nn.Conv3d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)


def r3d(depth: int, width: int) -> VideoResNet:
    """Build R3D of a depth in ``BLOCKS``; its representation has 8 x width numbers."""
    stem = nn.Sequential(
        nn.Conv3d(3, width, (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
    )
    return VideoResNet(stem, full_conv, BLOCKS[depth], width)
