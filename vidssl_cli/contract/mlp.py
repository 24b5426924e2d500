"""Heads of linear layers with ReLU between them, of pretext tasks and of classifiers.

Unlike the rest of the contract it imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn  # noqa: TID253 - options import this inside `build()`

from vidssl_cli.contract.batch_norm import SyncBatchNorm1d


def mlp(widths: Sequence[int], *, norm: bool = False) -> nn.Sequential:
    """Build linear layers of ``widths``: input, hidden layers, output.

    Args:
        widths: at least two.
        norm: put batch norm before the ReLU of every hidden layer, over all processes' rows.
    """
    *hidden, (before, after) = pairwise(widths)
    layers: list[nn.Module] = []
    for one, other in hidden:
        layers.append(nn.Linear(one, other))
        if norm:
            layers.append(SyncBatchNorm1d(other))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.Linear(before, after))
