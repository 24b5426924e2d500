"""Classification of orders by pairs of clips (Xu et al. 2019; Cho et al. 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, permutations
from typing import Literal

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.shared.classification import LabelClassifier
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim

MOST_VIEWS = 7
"""7 views have 5040 orders."""


def all_orders(views: int) -> Tensor:
    """Return the (V!, V) orders of V views by lexicographic rank, which is their class."""
    return torch.tensor(list(permutations(range(views))))


class OrderPretext(LabelClassifier):
    """Every pair of clips, in the order shown, goes through one layer; all pairs give the order.

    The order is applied to the pairs: the pair of views (a, b) has the same vector wherever in an
    order a comes before b. Loss and accuracy are means over videos and the orders shown.
    """

    label = "permutation"

    orders: Tensor
    pairs: Tensor

    def __init__(
        self,
        context: PretextContext,
        *,
        tap: str,
        hidden: int,
        dropout: float,
        shown: Literal["all", "random"],
    ) -> None:
        super().__init__()
        if context.views > MOST_VIEWS:
            raise UsageError(
                f"order cannot classify the orders of {context.views} views",
                hint=f"let the sampler plan at most {MOST_VIEWS}",
            )
        self.tap, self.shown = tap, shown
        orders = all_orders(context.views)
        pairs = torch.tensor(list(combinations(range(context.views), 2))).T
        self.register_buffer("orders", orders, persistent=False)
        self.register_buffer("pairs", pairs, persistent=False)
        dim = tap_dim(tap, context)
        self.pair = nn.Sequential(nn.Linear(2 * dim, hidden), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(pairs.shape[1] * hidden, len(orders))

    def decisions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return logits (B, orders) of the order in which the clips are given."""
        vectors = clip_vectors(features, self.tap)
        if vectors.shape[1] != self.orders.shape[1]:
            return {}
        as_given = torch.zeros((len(vectors), 1), dtype=torch.int64, device=vectors.device)
        return {self.label: self._of_orders(vectors, as_given)[:, 0]}

    def logits(self, features: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (N, orders) and ranks (N,) of every order that is shown of every video."""
        vectors = clip_vectors(features, self.tap)
        ranks = torch.arange(len(self.orders), device=vectors.device).expand(len(vectors), -1)
        if self.shown == "random":
            ranks = batch.labels["permutation"][:, None]
        return self._of_orders(vectors, ranks).flatten(0, 1), ranks.flatten()

    def _of_orders(self, vectors: Tensor, ranks: Tensor) -> Tensor:
        """Return logits (B, n, orders) of clips (B, V, D) that are shown in the orders (B, n)."""
        videos, views = vectors.shape[:2]
        firsts = vectors[:, :, None].expand(-1, -1, views, -1)
        compared = self.pair(torch.cat([firsts, firsts.transpose(1, 2)], dim=-1))  # (B, V, V, H)
        first, second = self.orders[ranks][..., self.pairs].unbind(-2)  # (B, n, pairs)
        rows = torch.arange(videos, device=vectors.device)[:, None, None]
        logits: Tensor = self.head(self.dropout(compared[rows, first, second].flatten(2)))
        return logits
