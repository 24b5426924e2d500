"""A slow copy of a network, whose output is a target (He et al. 2020, section 3.2)."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from vidssl_cli.contract.hooks import Backbone, PretextContext
from vidssl_plugins.pretexts.shared.taps import clip_vectors


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


class SlowEncoder(MomentumCopy):
    """A slow copy of the network and of a projection, from clips to vectors."""

    def __init__(
        self, context: PretextContext, tap: str, projection: nn.Module, momentum: float
    ) -> None:
        super().__init__(nn.ModuleList([cast(nn.Module, context.backbone), projection]), momentum)
        self.tap, self.encode = tap, context.encode

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """Return (B V, D) vectors of clips (B, V, C, T, H, W)."""
        assert self.encode is not None
        backbone, projection = cast(nn.ModuleList, self.copy)
        features = self.encode(cast(Backbone, backbone), clips)
        vectors: Tensor = projection(clip_vectors(features, self.tap).flatten(0, 1))
        return vectors
