"""R(2+1)D: residual networks that look at space first and then at time (Tran et al. 2018).

A convolution over t frames, h rows and w columns is factorised into one of 1 x h x w, a norm and
ReLU, and one of t x 1 x 1. The channels between the two give the pair as many weights as the
convolution has. Taps have the shapes of R3D.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork
from vidssl_plugins.backbones.shared.resnet import (
    BLOCKS,
    BasicBlock,
    ConvMaker,
    doubling,
    full_conv,
    video_resnet,
)


def r2plus1d(
    depth: int, width: int, mid_width: Literal["conv", "block"], norm: NormMaker
) -> StagedNetwork:
    """Build R(2+1)D of a depth in ``BLOCKS``; its representation has 8 x width numbers.

    Args:
        depth: Layers with weights.
        width: Channels of the first stage.
        mid_width: How the channels between the two convolutions of a pair are found. ``conv``
            computes them for each pair, shortcuts and stem included (the clip-order networks);
            ``block`` once for both pairs of a block, with a plain shortcut and 45/64 of the width
            in the stem (torchvision's).
        norm: Makes norms.
    """

    def block(channels_in: int, channels: int, stride: int) -> nn.Module:
        if mid_width == "conv":
            return BasicBlock(factorised(norm), norm, channels_in, channels, stride)
        mid = mid_channels(channels_in, channels, 3, 3)
        conv = factorised(norm, mid)
        return BasicBlock(conv, norm, channels_in, channels, stride, shortcut=full_conv)

    stem_mid = mid_channels(3, width, 3, 7) if mid_width == "conv" else max(1, 45 * width // 64)
    stem = nn.Sequential(
        conv_pair(3, width, stem_mid, norm, kernel=(3, 7), stride=(1, 2)),
        norm(width),
        nn.ReLU(inplace=True),
    )
    return video_resnet(stem, [block] * 4, BLOCKS[depth], doubling(width))


def mid_channels(channels_in: int, channels: int, frames: int, side: int) -> int:
    """Return the channels between the convolutions of a pair (Tran et al. 2018, section 3.5).

    So many, rounded down, give the pair as many weights as a convolution of frames x side x side.
    """
    space, time = side * side * channels_in, frames * channels
    return max(1, frames * side * side * channels_in * channels // (space + time))


def conv_pair(
    channels_in: int,
    channels: int,
    mid: int,
    norm: NormMaker,
    kernel: tuple[int, int],
    stride: tuple[int, int],
) -> nn.Module:
    """Make a spatial and a temporal convolution; kernel and stride are (in time, in space)."""
    (frames, side), (step, pace) = kernel, stride
    spatial = (1, side, side), (1, pace, pace), (0, side // 2, side // 2)
    temporal = (frames, 1, 1), (step, 1, 1), (frames // 2, 0, 0)
    return nn.Sequential(
        nn.Conv3d(channels_in, mid, *spatial, bias=False),
        norm(mid),
        nn.ReLU(inplace=True),
        nn.Conv3d(mid, channels, *temporal, bias=False),
    )


def factorised(norm: NormMaker, mid: int | None = None) -> ConvMaker:
    """Return what makes pairs, with so many channels between, or as many as fit each pair."""

    def conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
        between = mid or mid_channels(channels_in, channels, kernel, kernel)
        return conv_pair(channels_in, channels, between, norm, (kernel, kernel), (stride, stride))

    return conv
