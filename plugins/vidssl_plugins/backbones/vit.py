"""Video transformers: joint attention over space and time (Dosovitskiy et al. 2021).

A clip of 3 x 16 x 224 x 224 is cut into 8 x 14 x 14 tubelets of 2 x 16 x 16, each of which becomes
a token of D numbers. In every block all tokens attend to all others. As in VideoMAE (Tong et al.
2022) and V-JEPA 2 (Assran et al. 2025) there is no class token: the representation is the average.

Taps have the names of other backbones, so that recipes and protocols fit: ``conv1`` are the
tubelets, ``conv2`` to ``conv5`` the tokens after each quarter of the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError

Turn = tuple[Tensor, Tensor]
"""Cosines and sines (L, d), or (N, 1, L, d) where clips keep different tokens: how far rotary
positions turn the d numbers of a head's queries and keys for each of L tokens."""


class VideoTransformer(nn.Module):
    """Tubelets, positions, blocks and the final norm.

    Args:
        width: D, numbers of a token.
        depth: Blocks.
        heads: Heads of attention in each block.
        hidden: Width between the two layers of each MLP.
        tubelet: Frames, rows and columns of a token.
        positions: Where a token is: a fixed or a learned table, or rotary positions.
        grid: Tokens along time, rows and columns that the table is for.
        final_norm: What the last layer norm normalises: every token, their average, or nothing.
        eps: Added to the variance in layer norms.
    """

    feature_dim: int
    taps: Mapping[str, int]
    table: Tensor
    """(tokens of the grid, D), added to the tokens."""

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        *,
        tubelet: tuple[int, int, int],
        positions: Literal["sine", "learned", "rotary"],
        grid: tuple[int, int, int],
        final_norm: Literal["tokens", "mean", "none"],
        eps: float,
    ) -> None:
        super().__init__()
        self.tubelet, self.grid, self.final_norm = tubelet, grid, final_norm
        self.head_dim = width // heads
        self.rotary = positions == "rotary"
        self.tubelets = nn.Conv3d(3, width, tubelet, stride=tubelet)
        cells = grid[0] * grid[1] * grid[2]
        if positions == "learned":
            self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(cells, width), std=0.02))
        elif positions == "sine":
            self.register_buffer("table", sine_table(cells, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, hidden, eps) for _ in range(depth))
        self.norm = nn.Identity() if final_norm == "none" else nn.LayerNorm(width, eps)
        self.ends = {f"conv{part + 1}": ceil(part * depth / 4) for part in range(1, 5)}
        self.feature_dim = width
        self.taps = dict.fromkeys(["conv1", *self.ends, "pool5", "feat"], width)
        initialise(self)

    def forward(self, clips: Tensor, keep: Tensor | None = None) -> dict[str, Tensor]:
        """Map clips (N, 3, T, H, W) to every tap; ``feat`` is float32 always.

        Args:
            clips: Frames, rows and columns that do not fill a tubelet are left out.
            keep: (N, n) numbers of the tokens that pass through the blocks, in the order of time,
                rows and columns. The others are not seen, and the only tap is ``tokens``,
                (N, n, D) after the final norm of tokens.

        Raises:
            UsageError: the clips are smaller than a tubelet.
        """
        self._check_size(clips)
        taps = {"conv1": self.tubelets(clips)}
        grid = taps["conv1"].shape[2:]
        x, turn = self.locate(taps["conv1"].flatten(2).transpose(1, 2), grid, keep)
        for number, block in enumerate(self.blocks, 1):
            x = block(x, turn)
            if keep is None:
                here = torch.unflatten(x.transpose(1, 2), 2, grid)
                taps |= {tap: here for tap, end in self.ends.items() if end == number}
        if self.final_norm != "mean":
            x = self.norm(x)
        if keep is not None:
            return {"tokens": x}
        taps["conv5"] = torch.unflatten(x.transpose(1, 2), 2, grid)
        mean = x.mean(1, dtype=torch.float32)
        taps["pool5"] = taps["feat"] = (
            self.norm(mean).float() if self.final_norm == "mean" else mean
        )
        return taps

    def locate(
        self, tokens: Tensor, grid: Sequence[int], keep: Tensor | None
    ) -> tuple[Tensor, Turn | None]:
        """Return tokens (N, n, D) that know their places, and the turns of rotary positions.

        Args:
            tokens: (N, L, D) of all places of the grid.
            grid: How many there are along time, rows and columns.
            keep: (N, n) numbers of those that are returned; None for all.
        """
        turn = rotary(grid, self.head_dim, tokens.device) if self.rotary else None
        if not self.rotary:
            tokens = tokens + resized(self.table, self.grid, grid)
        if keep is None:
            return tokens, turn
        if turn:
            turn = turn[0][keep].unsqueeze(1), turn[1][keep].unsqueeze(1)
        return take(tokens, keep), turn

    def _check_size(self, clips: Tensor) -> None:
        size = tuple(clips.shape[2:])
        if any(found < least for found, least in zip(size, self.tubelet, strict=True)):
            raise UsageError(
                f"clips of {' x '.join(map(str, size))} are smaller than a tubelet",
                where="backbone.tubelet",
                hint=f"it has {' x '.join(map(str, self.tubelet))}: see input.crop, and frames of "
                "the sampler",
            )


class Block(nn.Module):
    """Attention and an MLP, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor, turn: Turn | None = None) -> Tensor:
        """Map tokens (N, L, D) to the same shape."""
        x = x + self.attention(self.norm1(x), turn)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Attention(nn.Module):
    """Attention of every token to every token, in several heads.

    VideoMAE has no bias of keys. Without rotary positions such a bias adds one number to all scores
    of a query, which softmax ignores: with or without, it is one function.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, x: Tensor, turn: Turn | None = None) -> Tensor:
        """Map tokens (N, L, D) to the same shape."""
        parts = torch.unflatten(self.qkv(x), 2, (3, self.heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if turn:
            q, k = rotate(q, turn), rotate(k, turn)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (N, heads, L, d)
        out: Tensor = self.project(mixed.transpose(1, 2).flatten(2))
        return out


def take(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Return the tokens (N, n, D) of these numbers (N, n) among tokens (N, L, D)."""
    return tokens.gather(1, numbers[..., None].expand(-1, -1, tokens.shape[2]))


def sine_table(count: int, width: int, device: torch.device | None = None) -> Tensor:
    """Return sines and cosines (count, width) of each number at falling frequencies.

    Columns 2 i and 2 i + 1 are sine and cosine of n / 10000^(2 i / width) (Vaswani et al. 2017).
    """
    table = torch.zeros(count, width, device=device)
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
    angles = torch.arange(count, dtype=torch.float64, device=device)[:, None] * rates
    table[:, 0::2], table[:, 1::2] = angles.sin(), angles.cos()
    return table


def resized(table: Tensor, grid: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """Interpolate a table (L, D) of the places of one grid to the places of another."""
    if tuple(grid) == tuple(wanted):
        return table
    volume = torch.unflatten(table.T, 1, tuple(grid))[None]
    return F.interpolate(volume, tuple(wanted), mode="trilinear").flatten(2)[0].T


def rotary(grid: Sequence[int], dim: int, device: torch.device) -> Turn:
    """Return cosines and sines (L, dim) of rotary positions (V-JEPA 2).

    A third of the numbers of a head is for the frame, the row and the column each, rounded down to
    pairs; what is left over is not turned. V-JEPA 2's code lists the frequencies of a third twice,
    one list behind the other, and turns neighbours: the two numbers of a pair turn by different
    angles, which its weights were trained with.
    """
    pairs = dim // 6
    rates = 10000.0 ** (-torch.arange(pairs, device=device) / max(pairs, 1))
    places = torch.cartesian_prod(*(torch.arange(size, device=device) for size in grid))
    angles = (places[..., None] * rates).repeat(1, 1, 2).flatten(1)
    angles = F.pad(angles, (0, dim - angles.shape[1]))
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Turn each pair of neighbouring numbers (…, L, d)."""
    cos, sin = turn
    first, second = torch.unflatten(x, -1, (-1, 2)).unbind(-1)
    across = torch.stack((-second, first), dim=-1).flatten(-2)
    return (x * cos + across * sin).to(x.dtype)


def initialise(network: nn.Module) -> None:
    """Draw weights as Glorot & Bengio 2010 do, those of tubelets like a linear layer's (MAE)."""
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv3d):
            nn.init.xavier_uniform_(module.weight.view(len(module.weight), -1))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
