"""C3D: plain 3 x 3 x 3 convolutions with max-pooling between them (Tran et al. 2015).

At full width, clips of 3 x 16 x 112 x 112 give conv1 64 x 16 x 112 x 112, conv2 128 x 16 x 56 x 56,
conv3 256 x 8 x 28 x 28, conv4 512 x 4 x 14 x 14 and conv5 512 x 2 x 7 x 7.
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork, plain_stages


def c3d(
    width: int, temporal_pool: Literal["standard", "psp_table1"], norm: NormMaker
) -> StagedNetwork:
    """Build C3D with eight convolutions; its representation has 8 x width numbers."""
    widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
    stages = plain_stages([[widths[0]], [widths[1]], *([w, w] for w in widths[2:])], norm)
    pools: list[nn.Module | None] = [nn.MaxPool3d(2) for _ in range(4)]
    pools[0 if temporal_pool == "standard" else 3] = nn.MaxPool3d((1, 2, 2))
    return StagedNetwork(stages, [*pools, None], widths, least=(8, 16, 16))
