"""The form of all built-in backbones: five stages with pooling between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError

NormMaker = Callable[[int], nn.Module]
"""Channels to a layer that normalises (N, C, T, H, W)."""

Cells = tuple[int, int, int]
"""Frames, rows, columns."""


class StagedNetwork(nn.Module):
    """Five stages, each followed by pooling or not, and the global average of the last.

    Taps: ``conv1…conv5`` are what the stages give, after their ReLU; ``pool1…pool5`` the same after
    the pooling, where there is one. Without a fifth pooling ``pool5`` is the global average of
    ``conv5``, a vector.

    Args:
        stages: From clips (N, 3, T, H, W) to (N, widths[0], T', H', W'), and so on.
        pools: Pooling behind each stage; None is none.
        widths: Channels that each stage gives.
        cells: Size of ``pool5`` if ``feat`` is all of it; None makes it the average of ``conv5``.
        least: Frames, rows and columns of the smallest clip that pooling does not use up.
    """

    feature_dim: int
    taps: Mapping[str, int]

    def __init__(
        self,
        stages: Sequence[nn.Module],
        pools: Sequence[nn.Module | None],
        widths: Sequence[int],
        *,
        cells: Cells | None = None,
        least: Cells = (1, 1, 1),
    ) -> None:
        super().__init__()
        for number, (stage, pool) in enumerate(zip(stages, pools, strict=True), 1):
            self.add_module(f"conv{number}", stage)
            self.add_module(f"pool{number}", nn.Identity() if pool is None else pool)
        self.cells, self.least = cells, least
        self.ends_in_average = pools[-1] is None
        self.feature_dim = widths[-1]
        if cells:
            self.feature_dim *= cells[0] * cells[1] * cells[2]
        self.taps = {
            **{f"conv{i}": channels for i, channels in enumerate(widths, 1)},
            **{f"pool{i}": channels for i, channels in enumerate(widths, 1)},
            "feat": self.feature_dim,
        }
        initialise(self)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        """Map clips (N, 3, T, H, W) to every tap; ``feat`` is float32 always.

        Raises:
            UsageError: the clips are smaller than ``least``, or ``pool5`` has not ``cells``.
        """
        self._check_size(clips)
        taps: dict[str, Tensor] = {}
        x = clips
        for number in range(1, 6):
            x = taps[f"conv{number}"] = getattr(self, f"conv{number}")(x)
            x = taps[f"pool{number}"] = getattr(self, f"pool{number}")(x)
        average = taps["conv5"].mean(dim=(2, 3, 4), dtype=torch.float32)
        if self.ends_in_average:
            taps["pool5"] = average
        taps["feat"] = self._flatten(x) if self.cells else average
        return taps

    def _check_size(self, clips: Tensor) -> None:
        size = clips.shape[2:]
        if any(found < least for found, least in zip(size, self.least, strict=True)):
            raise UsageError(
                f"clips of {_times(size)} are too small for this backbone",
                where="backbone",
                hint=f"it needs {_times(self.least)}: see input.crop, and frames of the sampler",
            )

    def _flatten(self, x: Tensor) -> Tensor:
        if x.shape[2:] != self.cells:
            raise UsageError(
                f"pool5 has {_times(x.shape[2:])} cells for these clips, not {_times(self.cells)}",
                where="backbone.cells",
                hint=f"set it to {list(x.shape[2:])}, or backbone.representation to gap",
            )
        return x.flatten(1).float()


def plain_stages(stages: Sequence[Sequence[int]], norm: NormMaker | None) -> list[nn.Module]:
    """Make stages of 3 x 3 x 3 convolutions with so many channels each, norms and ReLU."""
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


def initialise(network: nn.Module) -> None:
    """Draw convolution weights as He et al. 2015 do for ReLU, preserving the gradient's variance.

    The last norm of a block starts at 1, not at 0: the papers do not zero it, and random weights,
    which evaluation compares with, would otherwise make every block a shortcut.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _times(size: Sequence[int] | None) -> str:
    return " x ".join(map(str, size or ()))
