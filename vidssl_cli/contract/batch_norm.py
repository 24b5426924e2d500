"""Batch normalisation whose statistics may span all processes, on any device.

For networks and heads; unlike the rest of the contract it imports torch.
"""

from __future__ import annotations

from typing import Any

import torch  # noqa: TID253 - options import this inside `build()`
import torch.nn.functional as F  # noqa: TID253
from torch import Tensor, distributed, nn  # noqa: TID253


def batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float, sync: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise (N, C, …) by its own statistics, as batch norm does in training.

    Args:
        x: what is normalised; may be in reduced precision.
        weight: (C,) scale.
        bias: (C,) offset.
        eps: added to the variance.
        sync: take the statistics over the batches of all processes, which may differ in size.

    Returns:
        The result in the precision of ``x``; mean and unbiased variance, (C,), without gradient.
    """
    if sync and distributed.is_available() and distributed.is_initialized():
        return _batch_norm_of_all(x, weight, bias, eps)
    mean, variance = torch.zeros_like(weight.detach()), torch.zeros_like(weight.detach())
    y = F.batch_norm(x, mean, variance, weight, bias, training=True, momentum=1.0, eps=eps)
    return y, mean, variance


class _Synchronised(nn.modules.batchnorm._BatchNorm):
    def forward(self, input: Tensor) -> Tensor:
        """Normalise (N, C, …)."""
        if not self.training:
            return super().forward(input)
        y, mean, variance = batch_norm(input, self.weight, self.bias, self.eps, sync=True)
        with torch.no_grad():
            assert self.num_batches_tracked is not None, "running statistics are always kept"
            self.num_batches_tracked += 1
            follow(self.running_mean, mean, self.momentum, self.num_batches_tracked)
            follow(self.running_var, variance, self.momentum, self.num_batches_tracked)
        return y


class SyncBatchNorm1d(_Synchronised, nn.BatchNorm1d):
    """Batch norm of rows (N, C) over all processes; torch's own needs GPUs."""


class SyncBatchNorm3d(_Synchronised, nn.BatchNorm3d):
    """Batch norm of clips (B, C, T, H, W) over all processes; torch's own needs GPUs."""


def follow(running: Tensor | None, seen: Tensor, momentum: float | None, count: Tensor) -> None:
    """Move running statistics towards those of a batch, in place.

    Without a momentum they become the mean over all batches; ``count`` says how many there were,
    this one included.
    """
    assert running is not None
    if momentum is None:
        running.lerp_(seen, (1 / count.to(running.dtype)).expand_as(running))
    else:
        running.lerp_(seen, momentum)


def _batch_norm_of_all(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    def channels(values: Tensor) -> Tensor:
        return values.view(1, -1, *[1] * (x.ndim - 2))

    dims = (0, *range(2, x.ndim))
    wide = x.to(weight.dtype)
    cells = wide.new_full((1,), x.numel() / x.shape[1])
    sums = _Total.apply(torch.cat([wide.sum(dims), cells]))  # type: ignore[no-untyped-call]
    mean, count = sums[:-1] / sums[-1], sums[-1].detach()
    centred = wide - channels(mean)
    squares = _Total.apply(centred.square().sum(dims))  # type: ignore[no-untyped-call]
    y = centred * channels(weight * torch.rsqrt(squares / count + eps)) + channels(bias)
    return y.to(x.dtype), mean.detach(), (squares / (count - 1)).detach()


class _Total(torch.autograd.Function):
    """The sum over all processes; so is its gradient, since each process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _all_reduced(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


def _all_reduced(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total
