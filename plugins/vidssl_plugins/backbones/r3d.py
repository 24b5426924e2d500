"""R3D: residual networks of full 3-D convolutions.

With the stem of Tran et al. 2018, clips of 3 x 16 x 112 x 112 give taps of 64 x 16 x 56 x 56
(twice), 128 x 8 x 28 x 28, 256 x 4 x 14 x 14 and 512 x 2 x 7 x 7 at the full width. The other
stems halve everything behind them once more, down to 512 x 1 x 4 x 4.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork
from vidssl_plugins.backbones.shared.resnet import (
    BLOCKS,
    BasicBlock,
    doubling,
    full_conv,
    stem_conv,
    video_resnet,
)


def r3d(
    depth: int, width: int, stem: Literal["tran", "hara", "sstl"], norm: NormMaker
) -> StagedNetwork:
    """Build R3D of a depth in ``BLOCKS``; its representation has 8 x width numbers.

    Args:
        depth: Layers with weights.
        width: Channels of the first stage.
        stem: ``tran`` sees 3 frames and keeps time; ``hara`` sees 7, and max-pooling halves time,
            height and width behind it; ``sstl`` is the former with the latter's pooling.
        norm: Makes norms.
    """

    def block(channels_in: int, channels: int, stride: int) -> nn.Module:
        return BasicBlock(full_conv, norm, channels_in, channels, stride)

    pool = None if stem == "tran" else nn.MaxPool3d(3, stride=2, padding=1)
    conv = stem_conv(width, 7 if stem == "hara" else 3, norm)
    return video_resnet(conv, [block] * 4, BLOCKS[depth], doubling(width), pool)
