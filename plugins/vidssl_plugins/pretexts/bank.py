"""Memories of what earlier steps computed, equal in all processes: a bank and a queue.

They number videos as the training set does, so that held-out videos have no use for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from vidssl_plugins.pretexts.options.memory import SSTL

Neighbour = Literal["intended", "printed", "none"]


def update_rates(
    position: Tensor, columns: int, *, momentum: float, spread: float, neighbour: Neighbour
) -> Tensor:
    """Return how much of a clip's vector goes into each cell of its video (SSTL, equation 2).

    Args:
        position: (n,) where clips lie in their videos, from 0 to 1.
        columns: L, cells of a video; cell l of 0..L-1 is centred on (2l + 1) / 2L.
        momentum: m; the clip's own cell takes in 1 - m.
        spread: c, what a neighbour takes in of that, before its distance is counted.
        neighbour: ``intended`` takes in c (1 - distance) (1 - m), ``printed`` 1 - c (1 - distance)
            m, ``none`` nothing.

    Returns:
        (n, L) from 0 to 1.
    """
    own = (columns * position).floor().long().clamp(max=columns - 1)
    centres = (2 * torch.arange(columns, device=position.device) + 1) / (2 * columns)
    nearness = 1 - (centres - position[:, None]).abs()
    match neighbour:
        case "intended":
            rates = spread * nearness * (1 - momentum)
        case "printed":
            rates = 1 - spread * nearness * momentum
        case "none":
            rates = torch.zeros_like(nearness)
    return rates.scatter(1, own[:, None], 1 - momentum)


class TemporalBank(nn.Module):
    """For each video L unit vectors, one for each stretch of it (SSTL, section 3.2, equation 1)."""

    cells: Tensor
    """(N, L, D), unit vectors."""
    seed: Tensor
    """() int64, addresses the next sample; all processes hold the same."""

    def __init__(self, videos: int, dim: int, options: SSTL) -> None:
        super().__init__()
        self.options = options
        cells = F.normalize(torch.randn(videos, options.columns, dim), dim=2)
        self.register_buffer("cells", cells)
        self.register_buffer("seed", torch.randint(2**62, ()))

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Return different cells (n, D) and their videos (n,), the same until the next update.

        There are as many as asked for, or all.
        """
        generator = torch.Generator().manual_seed(int(self.seed))
        columns = self.cells.shape[1]
        total = len(self.cells) * columns
        chosen = torch.randperm(total, generator=generator)[:count].to(self.cells.device)
        return self.cells.flatten(0, 1)[chosen], chosen // columns

    def summary(self, video: Tensor) -> Tensor:
        """Return the mean cell (n, D) of videos (n,), which is no unit vector."""
        return self.cells[video].mean(1)

    @torch.no_grad()
    def update(self, video: Tensor, position: Tensor, vectors: Tensor) -> None:
        """Move the cells of videos (n,) towards clips at ``position`` (n,), ``vectors`` (n, D).

        A video that occurs several times gets the mean of its updates, in whatever order they
        come.
        """
        self.seed += 1
        options = self.options
        rates = update_rates(
            position,
            self.cells.shape[1],
            momentum=options.momentum,
            spread=options.spread,
            neighbour=options.neighbour,
        )[..., None]
        moved = (1 - rates) * self.cells[video] + rates * vectors[:, None]
        videos, which = torch.unique(video, return_inverse=True)
        # A product instead of a sum by index, whose order, and so rounding, is random on a GPU.
        visits = (which == torch.arange(len(videos), device=which.device)[:, None]).to(moved.dtype)
        new = F.normalize((visits @ moved.flatten(1)).view(-1, *moved.shape[1:]), dim=2)
        touched = (visits @ rates.flatten(1) > 0)[..., None]
        self.cells[videos] = torch.where(touched, new, self.cells[videos])


class Queue(nn.Module):
    """The last keys that were computed, first in, first out (He et al. 2020, section 3.1)."""

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
        """Return the keys (n, D) that are there and their videos (n,)."""
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
