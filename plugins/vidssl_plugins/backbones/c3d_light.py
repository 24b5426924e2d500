"""C3D with five convolutions, whose pooling rounds up: 7 rows become 4.

At full width, clips of 3 x 16 x 112 x 112 give the same sizes as `c3d` up to conv3, then
conv4 256 x 4 x 14 x 14, conv5 256 x 2 x 7 x 7 and pool5 256 x 1 x 4 x 4.
"""

from __future__ import annotations

from torch import nn

from vidssl_plugins.backbones.shared.network import Cells, NormMaker, StagedNetwork, plain_stages


def c3d_light(width: int, norm: NormMaker | None, cells: Cells | None) -> StagedNetwork:
    """Build the network.

    Args:
        width: Channels of the first convolution.
        norm: Makes norms; None is no normalisation.
        cells: Size of ``pool5`` if ``feat`` is all of it; None makes it the average of ``conv5``.
    """
    widths = [width, 2 * width, 4 * width, 4 * width, 4 * width]
    pools = [nn.MaxPool3d((1, 2, 2), ceil_mode=True)]
    pools += [nn.MaxPool3d(2, ceil_mode=True) for _ in range(4)]
    return StagedNetwork(plain_stages([[w] for w in widths], norm), pools, widths, cells=cells)
