"""MoCo's slow copy of a network, and its queue of keys (He et al. 2020, sections 3.1 and 3.2)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


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


class Queue(nn.Module):
    """The last keys that were computed, first in, first out; equal in all processes.

    Videos are numbered as in the training set, so that held-out videos cannot be compared with it.
    """

    keys: Tensor
    """(K, D), of which the first ``enqueued`` are filled."""
    videos: Tensor
    """(K,) video that each key came from."""
    enqueued: Tensor
    """() int64, keys that ever entered."""

    def __init__(self, length: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(length, dim))
        self.register_buffer("videos", torch.zeros(length, dtype=torch.int64))
        self.register_buffer("enqueued", torch.zeros((), dtype=torch.int64))

    def filled(self) -> tuple[Tensor, Tensor]:
        """Return the keys (n, D) so far and their videos (n,)."""
        filled = slice(int(self.enqueued))
        return self.keys[filled], self.videos[filled]

    @torch.no_grad()
    def enqueue(self, keys: Tensor, videos: Tensor) -> None:
        """Put keys (n, D) of videos (n,) in the place of the oldest."""
        length = len(self.keys)
        places = (self.enqueued + torch.arange(len(keys), device=keys.device))[-length:] % length
        self.keys[places] = keys[-length:]
        self.videos[places] = videos[-length:]
        self.enqueued += len(keys)
