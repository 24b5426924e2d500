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

NormMaker = Callable[[int], nn.Module]
"""Channels to a layer that normalises (N, C, T, H, W)."""

BlockMaker = Callable[[int, int, int], nn.Module]
"""(channels in, channels out, stride) to a block of a stage."""


BLOCKS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage by depth: layers with weights, the classifier counted."""


class BasicBlock(nn.Module):
    """Two convolutions with a shortcut around them (He et al. 2016, figure 5 left).

    Args:
        conv: Makes the two convolutions.
        norm: Makes the norm behind each of them, and behind the shortcut.
        channels_in: Channels of the input.
        channels: Channels of the output.
        stride: Of the first convolution and the shortcut.
        shortcut: Makes the shortcut's convolution; None is ``conv``. There is one where stride or
            channels ask for it.
    """

    def __init__(
        self,
        conv: ConvMaker,
        norm: NormMaker,
        channels_in: int,
        channels: int,
        stride: int,
        shortcut: ConvMaker | None = None,
    ) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            conv(channels_in, channels, 3, stride),
            norm(channels),
            nn.ReLU(inplace=True),
            conv(channels, channels, 3, 1),
            norm(channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            project = (shortcut or conv)(channels_in, channels, 1, stride)
            self.shortcut = nn.Sequential(project, norm(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, T, H, W) to (N, channels, T / stride, H / stride, W / stride)."""
        out: Tensor = self.relu(self.residual(x) + self.shortcut(x))
        return out


class VideoResNet(nn.Module):
    """A stem, four stages of residual blocks, and global average pooling.

    Taps: ``conv1`` is the stem's output, ``pool1`` the same after the stem's pooling where there
    is one; ``conv2…conv5`` are the stages' outputs, all after their ReLU, and ``pool2…pool4`` are
    the same as ``conv2…conv4``, the mapping of the pooling layers of C3D; ``pool5`` and ``feat``
    are the global average of ``conv5``.

    Args:
        stem: From clips (N, 3, T, H, W) to (N, widths[0], T', H', W').
        stages: For each of the four, what makes its blocks. All but the first halve height and
            width, and time if their blocks do.
        counts: How many blocks each stage has.
        widths: Channels of the stem and of each stage, five numbers.
        pool: Pooling between the stem and the first stage; None is none.
    """

    feature_dim: int
    taps: Mapping[str, int]

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[BlockMaker],
        counts: Sequence[int],
        widths: Sequence[int],
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = stem
        self.pool1 = pool or nn.Identity()
        self.conv2, self.conv3, self.conv4, self.conv5 = (
            nn.Sequential(
                block(channels_in, channels, 1 if number == 0 else 2),
                *(block(channels, channels, 1) for _ in range(count - 1)),
            )
            for number, (block, count, channels_in, channels) in enumerate(
                zip(stages, counts, widths[:-1], widths[1:], strict=True)
            )
        )
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
        taps["conv1"] = self.conv1(clips)
        x = taps["pool1"] = self.pool1(taps["conv1"])
        for i, stage in enumerate((self.conv2, self.conv3, self.conv4, self.conv5), 2):
            x = stage(x)
            taps[f"conv{i}"] = taps[f"pool{i}"] = x
        taps["pool5"] = taps["feat"] = global_average(x)
        return taps


def full_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
    """Make a convolution over time and space together."""
    return nn.Conv3d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)


def global_average(x: Tensor) -> Tensor:
    """Average (N, C, T, H, W) over time and space: (N, C) in float32."""
    return x.mean(dim=(2, 3, 4), dtype=torch.float32)


def doubling(width: int) -> list[int]:
    """Return the channels of a stem and four stages that double them: w, w, 2 w, 4 w, 8 w."""
    return [width, width, 2 * width, 4 * width, 8 * width]


def initialise(network: nn.Module) -> None:
    """Draw convolution weights as He et al. 2015 do for ReLU, preserving the gradient's variance.

    The last norm of a block starts at 1, not at 0: the papers do not zero it, and a network whose
    blocks are all shortcuts would be an unfair opponent wherever random weights are compared.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
