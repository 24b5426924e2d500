"""Residual video networks, whatever their convolutions are.

Networks differ in how they make a convolution (full, factorised, spatial) and in their stem;
blocks and stages are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from vidssl_plugins.backbones.shared.network import NormMaker, StagedNetwork

ConvMaker = Callable[[int, int, int, int], nn.Module]
"""(channels in, channels out, kernel size, stride) to a convolution that keeps size / stride."""

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


def video_resnet(
    stem: nn.Module,
    blocks: Sequence[BlockMaker],
    counts: Sequence[int],
    widths: Sequence[int],
    pool: nn.Module | None = None,
) -> StagedNetwork:
    """Build a network of a stem and four stages of residual blocks.

    The thesis that reads taps ``pool1…pool4`` does not define them for networks without pooling:
    here ``pool1`` is what enters the first block, the others are the outputs of the stages.

    Args:
        stem: From clips (N, 3, T, H, W) to (N, widths[0], T', H', W').
        blocks: For each of the four stages, what makes its blocks. All but the first halve height
            and width, and time if their blocks do.
        counts: How many blocks each stage has.
        widths: Channels of the stem and of each stage, five numbers.
        pool: Pooling between the stem and the first stage; None is none.
    """
    stages = [
        nn.Sequential(
            block(channels_in, channels, 1 if number == 0 else 2),
            *(block(channels, channels, 1) for _ in range(count - 1)),
        )
        for number, (block, count, channels_in, channels) in enumerate(
            zip(blocks, counts, widths[:-1], widths[1:], strict=True)
        )
    ]
    return StagedNetwork([stem, *stages], [pool, None, None, None, None], widths)


def full_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
    """Make a convolution over time and space together."""
    return nn.Conv3d(channels_in, channels, kernel, stride, padding=kernel // 2, bias=False)


def spatial_conv(channels_in: int, channels: int, kernel: int, stride: int) -> nn.Module:
    """Make a convolution over space alone."""
    pad = kernel // 2
    return nn.Conv3d(
        channels_in, channels, (1, kernel, kernel), (1, stride, stride), (0, pad, pad), bias=False
    )


def stem_conv(width: int, frames: int, norm: NormMaker) -> nn.Module:
    """Make a stem that sees so many frames and 7 x 7 pixels, and halves height and width."""
    return nn.Sequential(
        nn.Conv3d(3, width, (frames, 7, 7), (1, 2, 2), (frames // 2, 3, 3), bias=False),
        norm(width),
        nn.ReLU(inplace=True),
    )


def doubling(width: int) -> list[int]:
    """Return the channels of a stem and four stages that double them: w, w, 2 w, 4 w, 8 w."""
    return [width, width, 2 * width, 4 * width, 8 * width]
