"""Rows of all processes, for losses that compare clips across the whole batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


def gather(rows: Tensor) -> Tensor:
    """Join the rows of all processes in order of rank; a single process keeps its own.

    Processes may hold different numbers of rows, because unreadable videos leave gaps. Gradients
    flow back to the process that each row came from, summed over all processes: where every
    process computes the same loss of the joined rows, DistributedDataParallel's mean over
    processes is the gradient of that loss.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    joined: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return joined


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        size = distributed.get_world_size()
        # On the host, which knows its own number: fetching others from a GPU would wait for it.
        counts = [torch.zeros(1, dtype=torch.int64) for _ in range(size)]
        distributed.all_gather(counts, torch.tensor([len(rows)]))
        ctx.counts = torch.cat(counts).tolist()
        padded = rows.new_zeros(max(ctx.counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(size)]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return torch.split(total, ctx.counts)[distributed.get_rank()]
