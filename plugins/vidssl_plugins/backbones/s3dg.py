"""S3D-G: inception modules of separable convolutions with gates (Xie et al. 2018, section 4).

At full width, clips of 3 x 64 x 224 x 224 give conv1 64 x 32 x 112 x 112, pool1 64 x 32 x 56 x 56,
conv2 192 x 32 x 56 x 56, conv3 480 x 32 x 28 x 28, conv4 832 x 16 x 14 x 14 and
conv5 1024 x 8 x 7 x 7. The layers that the paper calls pool2a to pool5a are pool1 to pool4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork

Widths = tuple[int, int, int, int, int, int]

MODULES: tuple[tuple[Widths, ...], ...] = (
    ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
    (
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
"""Channels of each inception module of conv3, conv4 and conv5 (Szegedy et al. 2015, table 1).

The pointwise branch; input and output of each of two separable ones; the one behind pooling.
"""


def s3dg(
    width: int, stem: Literal["plain", "separable"], gate: bool, norm: NormMaker
) -> StagedNetwork:
    """Build S3D-G; its representation has 16 x width numbers.

    Args:
        width: Channels of the stem; all others scale with it.
        stem: Whether the first convolution is one of 3 x 7 x 7, or 1 x 7 x 7 and then 7 x 1 x 1.
        gate: Whether there are gates; without them it is S3D.
        norm: Makes norms.
    """
    layers = Layers(norm, gate)
    first = (
        layers.conv(3, width, (3, 7, 7), (2, 2, 2))
        if stem == "plain"
        else layers.separable(3, width, 7, 2)
    )
    second = [
        *layers.conv(width, width, (1, 1, 1)),
        *layers.separable(width, 3 * width, 3),
        *layers.gates(3 * width),
    ]
    stages: list[nn.Module] = [nn.Sequential(*first), nn.Sequential(*second)]
    widths = [width, 3 * width]
    for modules in MODULES:
        stage, channels = _inceptions(layers, widths[-1], modules, width)
        stages.append(stage)
        widths.append(channels)
    pools = [
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        nn.MaxPool3d(3, 2, 1),
        nn.MaxPool3d(2),
        None,
    ]
    return StagedNetwork(stages, pools, widths, least=(5, 17, 17))


def _inceptions(
    layers: Layers, channels_in: int, modules: Sequence[Widths], width: int
) -> tuple[nn.Module, int]:
    """Make the inception modules of a stage; return them with the channels of the last."""
    made = []
    for full in modules:
        made.append(Inception(layers, channels_in, [max(1, w * width // 64) for w in full]))
        channels_in = made[-1].channels
    return nn.Sequential(*made), channels_in


@dataclass(frozen=True)
class Layers:
    """Makes the layers of a network."""

    norm: NormMaker
    gate: bool

    def conv(
        self,
        channels_in: int,
        channels: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
    ) -> list[nn.Module]:
        """Make a convolution with its norm and ReLU."""
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        conv = nn.Conv3d(channels_in, channels, kernel, stride, padding, bias=False)
        return [conv, self.norm(channels), nn.ReLU(inplace=True)]

    def separable(
        self, channels_in: int, channels: int, kernel: int, stride: int = 1
    ) -> list[nn.Module]:
        """Make a convolution over space and then one over time."""
        return [
            *self.conv(channels_in, channels, (1, kernel, kernel), (1, stride, stride)),
            *self.conv(channels, channels, (kernel, 1, 1), (stride, 1, 1)),
        ]

    def gates(self, channels: int) -> list[nn.Module]:
        """Make a gate if the network has any."""
        return [Gate(channels)] if self.gate else []


class Gate(nn.Module):
    """Weighs channels by what the whole clip shows: x * sigmoid(W mean(x) + b)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to the same shape."""
        weight: Tensor = self.linear(x.mean(dim=(2, 3, 4))).sigmoid()
        return x * weight[:, :, None, None, None]


class Inception(nn.Module):
    """Four branches side by side, each with a gate.

    Args:
        layers: Makes the layers.
        channels_in: Channels of the input.
        widths: Channels of the branches, as in `MODULES`.
    """

    def __init__(self, layers: Layers, channels_in: int, widths: list[int]) -> None:
        super().__init__()
        point, wide_in, wide, narrow_in, narrow, pooled = widths
        ends = (point, wide, narrow, pooled)
        starts = (
            layers.conv(channels_in, point, (1, 1, 1)),
            [*layers.conv(channels_in, wide_in, (1, 1, 1)), *layers.separable(wide_in, wide, 3)],
            [
                *layers.conv(channels_in, narrow_in, (1, 1, 1)),
                *layers.separable(narrow_in, narrow, 3),
            ],
            [nn.MaxPool3d(3, 1, 1), *layers.conv(channels_in, pooled, (1, 1, 1))],
        )
        self.branches = nn.ModuleList(
            nn.Sequential(*start, *layers.gates(end))
            for start, end in zip(starts, ends, strict=True)
        )
        self.channels = sum(ends)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, T, H, W) to (N, channels, T, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)
