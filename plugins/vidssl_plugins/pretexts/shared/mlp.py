"""Heads of linear layers with ReLU between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from vidssl_plugins.backbones.shared.batch_norm import SyncBatchNorm1d

if TYPE_CHECKING:
    from vidssl_plugins.pretexts.options.shared import ProjectionOptions


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


def projection(options: ProjectionOptions, dim: int) -> nn.Module:
    """Build what maps vectors of ``dim`` numbers to those that are compared."""
    if options.proj_dim is None:
        return nn.Identity()
    head = mlp([dim, *options.proj_hidden, options.proj_dim], norm=options.proj_norm)
    # The thesis's "fc" is one rectified layer; a deeper head ends with a linear one.
    return head if options.proj_hidden else head.append(nn.ReLU())
