"""SSTL's memory of what earlier steps computed of every video (section 3.2), a bank of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class CellUpdate:
    """How much of a clip's vector goes into each cell of its video (SSTL, equation 2)."""

    columns: int
    """L, cells of a video; cell l of 0..L-1 is centred on (2l + 1) / 2L."""
    momentum: float
    """m; the cell at the clip's place takes in 1 - m."""
    spread: float
    """c, what a neighbour takes in of that, before its distance is counted."""
    neighbour: Literal["intended", "printed", "none"]
    """``intended`` takes in c (1 - distance) (1 - m), ``printed`` 1 - c (1 - distance) m, ``none``
    nothing."""

    def rates(self, position: Tensor) -> Tensor:
        """Return (n, L), from 0 to 1, for clips at ``position`` (n,) in their videos, 0 to 1."""
        own = (self.columns * position).floor().long().clamp(max=self.columns - 1)
        cells = torch.arange(self.columns, device=position.device)
        nearness = 1 - ((2 * cells + 1) / (2 * self.columns) - position[:, None]).abs()
        match self.neighbour:
            case "intended":
                rates = self.spread * nearness * (1 - self.momentum)
            case "printed":
                rates = 1 - self.spread * nearness * self.momentum
            case "none":
                rates = torch.zeros_like(nearness)
        return rates.scatter(1, own[:, None], 1 - self.momentum)


class TemporalBank(nn.Module):
    """For each video L unit vectors, one for each stretch of it (SSTL, section 3.2, equation 1).

    It is equal in all processes. Videos are numbered as in the training set, so that held-out
    videos cannot be compared with it.
    """

    cells: Tensor
    """(N, L, D), unit vectors."""
    seed: Tensor
    """() int64, addresses the next sample; all processes hold the same."""

    def __init__(self, videos: int, dim: int, rule: CellUpdate) -> None:
        super().__init__()
        self.rule = rule
        cells = F.normalize(torch.randn(videos, rule.columns, dim), dim=2)
        self.register_buffer("cells", cells)
        self.register_buffer("seed", torch.randint(2**62, ()))
        self._known: tuple[Tensor, int, int] | None = None

    def _address(self) -> int:
        """Return the seed, which is fetched only if it was changed other than by an update.

        Fetching waits for a GPU; the version of a tensor, which counts changes, is on the host.
        """
        seed = self.seed
        if self._known is None or self._known[0] is not seed or self._known[1] != seed._version:
            self._known = seed, seed._version, int(seed)
        return self._known[2]

    def sample(self, count: int, left_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Draw cells that differ, of equal chances, but for those of videos ``left_out`` (b,).

        The same until the next update, whichever process draws; a CPU draws others than a GPU.

        Returns:
            Cells (n, D), their videos (n,), and which of them were to be drawn (n,) bool: all, but
            in a bank that has fewer than ``count`` others. n is ``count``, or the number of all
            cells if that is smaller.
        """
        device = self.cells.device
        generator = torch.Generator(device).manual_seed(self._address())
        videos, columns = self.cells.shape[:2]
        enough = count + len(left_out) * columns  # of which at least ``count`` are others, or all
        drawn = torch.randperm(videos * columns, generator=generator, device=device)[:enough]
        owners = drawn // columns
        others = torch.ones(videos, dtype=torch.uint8, device=drawn.device)
        others = others.index_fill(0, left_out, 0)[owners]
        # Sorting keeps their order, and their number need not be known on the host.
        first = others.argsort(descending=True, stable=True)[:count]
        return self.cells.flatten(0, 1)[drawn[first]], owners[first], others[first].bool()

    def summary(self, video: Tensor) -> Tensor:
        """Return the mean cell (n, D) of videos (n,), which is no unit vector."""
        return self.cells[video].mean(1)

    @torch.no_grad()
    def update(self, video: Tensor, position: Tensor, vectors: Tensor) -> None:
        """Move the cells of videos (n,) towards clips at ``position`` (n,), ``vectors`` (n, D).

        A video that occurs several times gets the mean of its updates, in whatever order they
        come.
        """
        address = self._address()
        self.seed += 1
        self._known = self.seed, self.seed._version, address + 1
        rates = self.rule.rates(position)[..., None]
        moved = (1 - rates) * self.cells[video] + rates * vectors[:, None]
        # Every visit to a video writes what all visits to it make of it, from the row of the first.
        # A product instead of a sum by index, whose order, and so rounding, is random on a GPU.
        visits = (video[:, None] == video).to(moved.dtype)
        new = F.normalize((visits @ moved.flatten(1)).view_as(moved), dim=2)
        touched = (visits @ rates.flatten(1) > 0)[..., None]
        first = visits.argmax(1)
        self.cells[video] = torch.where(touched, new, self.cells[video])[first]
