"""Residual video networks, whatever their convolutions are.

A kind of network is a way to make a convolution (full, factorised, spatial) and a stem; the
blocks, the stages and the taps are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

ConvMaker = Callable[[int, int, int, int], nn.Module]
"""(channels in, channels out, kernel size, stride) to a convolution that keeps size / stride."""


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut around them (He et al. 2016, figure 5 left)."""

    def __init__(self, conv: ConvMaker, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv(channels_in, channels, 3, stride),
            nn.BatchNorm3d(channels),
            nn.ReLU(inplace=True),
            conv(channels, channels, 3, 1),
            nn.BatchNorm3d(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                conv(channels_in, channels, 1, stride), nn.BatchNorm3d(channels)
            )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, channels, T / stride, H / stride, W / stride)."""
        out: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return out


class VideoResNet(nn.Module):
    """A stem, four stages of residual blocks, and global average pooling.

    Taps: ``conv1`` is the stem's output and ``conv2…conv5`` are the stages' outputs, all after
    their ReLU; ``pool1…pool4`` are the same as ``conv1…conv4``, the mapping of the pooling layers
    of C3D; ``pool5`` and ``feat`` are the global average of ``conv5``.

    Args:
        stem: From clips (N, 3, T, H, W) to (N, width, T', H', W').
        conv: Makes the convolutions of the blocks.
        blocks: How many blocks each of the four stages has. All stages but the first halve time,
            height and width.
        width: Channels of the stem and the first stage; every later stage doubles them.
    """

    feature_dim: int
    taps: Mapping[str, int]

    def __init__(self, stem: nn.Module, conv: ConvMaker, blocks: Sequence[int], width: int) -> None:
        super().__init__()
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.conv1 = stem
        stages = []
        for stage, count in enumerate(blocks):
            channels_in, channels = widths[stage : stage + 2]
            first = BasicBlock(conv, channels_in, channels, stride=1 if stage == 0 else 2)
            rest = (BasicBlock(conv, channels, channels, stride=1) for _ in range(count - 1))
            stages.append(nn.Sequential(first, *rest))
        self.conv2, self.conv3, self.conv4, self.conv5 = stages
        self.feature_dim = widths[-1]
        self.taps = {
            **{f"conv{i}": channels for i, channels in enumerate(widths, 1)},
            **{f"pool{i}": channels for i, channels in enumerate(widths, 1)},
            "feat": self.feature_dim,
        }
        initialise(self)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Map clips (N, 3, T, H, W) to every tap; ``pool5`` and ``feat`` are float32 always."""
        taps: dict[str, Tensor] = {}
        x = clips
        for i, stage in enumerate((self.conv1, self.conv2, self.conv3, self.conv4, self.conv5), 1):
            x = stage(x)
            taps[f"conv{i}"] = taps[f"pool{i}"] = x
        taps["pool5"] = taps["feat"] = x.mean(dim=(2, 3, 4), dtype=torch.float32)
        return taps


def initialise(network: nn.Module) -> None:
    """Draw convolution weights as He et al. 2015 do for ReLU, preserving the gradient's variance.

    The last norm of a block starts at 1, not at 0: the papers do not zero it, and a network whose
    blocks are all shortcuts would be an unfair opponent wherever random weights are compared.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
