"""R2D3D: residual networks that see single frames in their first half (Han et al. 2019, DPC).

Stem and the first two stages convolve and stride in space alone, the last two in time too: clips
of 3 x 16 x 128 x 128 give conv2 64 x 16 x 32 x 32, conv3 128 x 16 x 16 x 16, conv4 256 x 8 x 8 x 8
and conv5 512 x 4 x 4 x 4 at the full width.
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


def r2d3d(depth: int, width: int, last_width: int, norm: NormMaker) -> StagedNetwork:
    """Build R2D3D of a depth in ``BLOCKS``.

    Args:
        depth: Layers with weights.
        width: Channels of the first stage.
        last_width: Channels of the last stage and of the representation, in multiples of ``width``.
        norm: Makes norms.
    """

    def flat(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(spatial_conv, norm, channels_in, channels, stride)

    def deep(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(full_conv, norm, channels_in, channels, stride)

    pool = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))
    widths = [*doubling(width)[:-1], last_width * width]
    stages = [flat, flat, deep, deep]
    return video_resnet(stem_conv(width, 1, norm), stages, BLOCKS[depth], widths, pool)
