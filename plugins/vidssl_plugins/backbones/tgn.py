"""Temporal group normalisation (Cho, Kim, Chang, Hwang 2020).

Batch norm takes one mean and one variance for all frames of a clip. Here every group of g
consecutive frames has its own, so that what differs along time is not averaged away.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.batch_norm import batch_norm, follow


class TemporalGroupNorm(nn.Module):
    """Normalises each group of consecutive frames like a batch norm of its own (equations 5 and 6).

    Frames [k g, (k + 1) g) are group k; the last one is shorter where g does not divide T, and
    g >= T is batch norm. In evaluation every group has the running statistics of its position;
    groups beyond those that were trained take the last trained one's. The state holds
    ``groups`` groups from the start, so that it does not depend on the length of the clips.

    Args:
        channels: C.
        frames: g, frames of a group.
        affine: one scale and offset per channel, or per group and channel.
        momentum: share of a batch in the running statistics; None averages over all batches.
        eps: added to the variance.
        sync: take the statistics of training over all processes.
        groups: most groups that a training clip may have.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    """(groups,), how often each group was trained."""

    def __init__(
        self,
        channels: int,
        frames: int = 2,
        affine: Literal["channel", "group"] = "channel",
        momentum: float | None = 0.1,
        eps: float = 1e-5,
        sync: bool = False,
        groups: int = 64,
    ) -> None:
        super().__init__()
        self.channels, self.frames, self.groups = channels, frames, groups
        self.momentum, self.eps, self.sync = momentum, eps, sync
        self.affine_groups = groups if affine == "group" else 1
        # Flat, for optimizers that spare vectors from weight decay.
        self.weight = nn.Parameter(torch.ones(self.affine_groups * channels))
        self.bias = nn.Parameter(torch.zeros(self.affine_groups * channels))
        self.register_buffer("running_mean", torch.zeros(groups, channels))
        self.register_buffer("running_var", torch.ones(groups, channels))
        self.register_buffer("num_batches_tracked", torch.zeros(groups, dtype=torch.int64))

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (B, C, T, H, W).

        Raises:
            UsageError: a training clip has more than ``groups`` groups.
        """
        whole, rest = divmod(x.shape[2], self.frames)
        if self.training and whole + bool(rest) > self.groups:
            raise UsageError(
                f"{x.shape[2]} frames in groups of {self.frames} are more than "
                f"{self.groups} groups",
                where="backbone.norm",
                hint=f"set backbone.norm.groups to {whole + bool(rest)}",
            )
        parts = torch.split(x, [whole * self.frames, rest], dim=2)
        pieces = [
            self._normalise(part, first, groups)
            for part, first, groups in zip(parts, (0, whole), (whole, 1), strict=True)
            if part.shape[2]
        ]
        y = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)
        layout = torch.channels_last_3d
        return y.contiguous(memory_format=layout) if x.is_contiguous(memory_format=layout) else y

    def extra_repr(self) -> str:
        """Describe the module in a printed network."""
        return f"{self.channels}, frames={self.frames}, groups={self.groups}, sync={self.sync}"

    def _normalise(self, x: Tensor, first: int, groups: int) -> Tensor:
        """Normalise so many groups of equal length, the first of which has that number.

        They become channels, which is one batch norm instead of many.
        """
        number = torch.arange(first, first + groups, device=x.device)
        folded = torch.unflatten(x, 2, (groups, -1)).transpose(1, 2).flatten(1, 2)
        if self.training:
            y, mean, variance = batch_norm(folded, *self._affine(number), self.eps, self.sync)
            self._track(slice(first, first + groups), mean, variance)
        else:
            trained = (self.num_batches_tracked > 0).sum()
            number = number.minimum(trained - 1).clamp(min=0)
            mean, variance = self.running_mean[number], self.running_var[number]
            y = F.batch_norm(
                folded, mean.flatten(), variance.flatten(), *self._affine(number), eps=self.eps
            )
        return torch.unflatten(y, 1, (groups, -1)).transpose(1, 2).flatten(2, 3)

    def _affine(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Return scale and offset of the groups of these numbers, one after another."""
        number = number.clamp(max=self.affine_groups - 1)
        shape = (self.affine_groups, self.channels)
        return self.weight.view(shape)[number].flatten(), self.bias.view(shape)[number].flatten()

    @torch.no_grad()
    def _track(self, groups: slice, mean: Tensor, variance: Tensor) -> None:
        self.num_batches_tracked[groups] += 1
        count = self.num_batches_tracked[groups, None]
        shape = (-1, self.channels)
        follow(self.running_mean[groups], mean.view(shape), self.momentum, count)
        follow(self.running_var[groups], variance.view(shape), self.momentum, count)
