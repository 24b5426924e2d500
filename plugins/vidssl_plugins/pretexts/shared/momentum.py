"""A slow copy of a network, whose output is a target (He et al. 2020, section 3.2)."""

from __future__ import annotations

import copy

import torch
from torch import nn


class MomentumCopy(nn.Module):
    """A copy whose weights are a running mean of those of the network it follows.

    The copy is saved and moved with the module it belongs to; it is not trained. Only weights
    follow. Batch norms of the copy normalise by the batch they see, as those of the network do, and
    keep running statistics of their own, which evaluation uses.
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.copy = copy.deepcopy(network).requires_grad_(False)
        self._followed = (network,)  # in a tuple, or it would become a submodule

    @torch.no_grad()
    def follow(self) -> None:
        """Move towards the network: momentum times what it is, the rest the network."""
        pairs = zip(self.copy.parameters(), self._followed[0].parameters(), strict=True)
        for slow, live in pairs:
            slow.lerp_(live, 1 - self.momentum)
