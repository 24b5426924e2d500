"""MoCo's queue of keys (He et al. 2020, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


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
        self._count: int | None = 0  # the same on the host, so that no GPU is waited for

    def _load_from_state_dict(self, *arguments: Any, **options: Any) -> None:
        super()._load_from_state_dict(*arguments, **options)
        self._count = None

    def filled(self) -> tuple[Tensor, Tensor]:
        """Return the keys (n, D) so far and their videos (n,)."""
        if self._count is None:
            self._count = int(self.enqueued)
        filled = slice(self._count)
        return self.keys[filled], self.videos[filled]

    @torch.no_grad()
    def enqueue(self, keys: Tensor, videos: Tensor) -> None:
        """Put keys (n, D) of videos (n,) in the place of the oldest."""
        length = len(self.keys)
        places = (self.enqueued + torch.arange(len(keys), device=keys.device))[-length:] % length
        self.keys[places] = keys[-length:]
        self.videos[places] = videos[-length:]
        self.enqueued += len(keys)
        if self._count is not None:
            self._count += len(keys)
