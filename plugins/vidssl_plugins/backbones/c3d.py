"""C3D: plain 3 x 3 x 3 convolutions with max-pooling between them (Tran et al. 2015).

At full width, clips of 3 x 16 x 112 x 112 give in C3D conv1 64 x 16 x 112 x 112,
conv2 128 x 16 x 56 x 56, conv3 256 x 8 x 28 x 28, conv4 512 x 4 x 14 x 14 and
conv5 512 x 2 x 7 x 7; the small one has 256 channels in conv4 and conv5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from vidssl_plugins.backbones.network import Cells, NormMaker, StagedNetwork


def c3d(
    width: int, temporal_pool: Literal["standard", "psp_table1"], norm: NormMaker
) -> StagedNetwork:
    """Build C3D with eight convolutions; its representation has 8 x width numbers."""
    widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
    stages = _stages([[widths[0]], [widths[1]], *([w, w] for w in widths[2:])], norm)
    pools: list[nn.Module | None] = [nn.MaxPool3d(2) for _ in range(4)]
    pools[0 if temporal_pool == "standard" else 3] = nn.MaxPool3d((1, 2, 2))
    return StagedNetwork(stages, [*pools, None], widths, least=(8, 16, 16))


def c3d_light(width: int, norm: NormMaker | None, cells: Cells | None) -> StagedNetwork:
    """Build C3D with five convolutions, whose pooling rounds up: 7 rows become 4."""
    widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
    pools = [nn.MaxPool3d((1, 2, 2), ceil_mode=True)]
    pools += [nn.MaxPool3d(2, ceil_mode=True) for _ in range(4)]
    return StagedNetwork(_stages([[w] for w in widths], norm), pools, widths, cells=cells)


def _stages(stages: Sequence[Sequence[int]], norm: NormMaker | None) -> list[nn.Module]:
    """Make stages of convolutions with so many channels each."""
    made: list[nn.Module] = []
    channels_in = 3
    for widths in stages:
        layers: list[nn.Module] = []
        for channels in widths:
            layers.append(nn.Conv3d(channels_in, channels, 3, padding=1))
            layers += [norm(channels)] if norm else []
            layers.append(nn.ReLU(inplace=True))
            channels_in = channels
        made.append(nn.Sequential(*layers))
    return made
