"""Contrast of clips with a memory of all videos, and their rate (SSTL 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.options.shared import ProjectionOptions
from vidssl_plugins.pretexts.shared.contrast import contrast, retrieved, similarity, view_pairs
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim
from vidssl_plugins.pretexts.sstl_bank import CellUpdate, TemporalBank

RATE_MAP = ("conv5", (1, 4, 4))
"""What the option ``rate_input: map`` reads, and the places to which it is averaged."""


class Weights(NamedTuple):
    """Factors on the terms of the loss; 0 leaves a term out."""

    contrast: float
    rate: float
    video: float


class SSTLPretext(nn.Module):
    """Projection, rate head and bank; the bank is updated after the step.

    Args:
        options: The tap and its projection.
        context: Network and data.
        temperature: Divides cosines.
        weights: Of the terms.
        update: How the bank learns; None for no bank.
        bank_negatives: Cells that are drawn in each step as negatives.
        bank_from: Draw them from videos outside the batch, or from all that are not the clip's.
        rate_input: Predict the rate from the tap's vector or from a map, `RATE_MAP`.
        rate_hidden: Width of the hidden layer of the rate head.
    """

    def __init__(
        self,
        options: ProjectionOptions,
        context: PretextContext,
        *,
        temperature: float,
        weights: Weights,
        update: CellUpdate | None,
        bank_negatives: int,
        bank_from: Literal["outside", "others"],
        rate_input: Literal["pooled", "map"],
        rate_hidden: int,
    ) -> None:
        super().__init__()
        self.tap, self.temperature, self.weights = options.tap, temperature, weights
        self.bank_negatives, self.bank_from = bank_negatives, bank_from
        self.rate_input = rate_input
        dim = tap_dim(options.tap, context)
        self.projection = projection(options, dim)
        if weights.rate:
            read = dim
            if rate_input == "map":
                tap, places = RATE_MAP
                read = tap_dim(tap, context) * torch.Size(places).numel()
            self.rate_head = mlp([read, rate_hidden, 1])
        self.bank: TemporalBank | None = None
        if update is not None:
            self.bank = TemporalBank(context.videos, options.proj_dim or dim, update)
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return weighted terms ``contrast``, ``rate`` and ``video``, and two metrics.

        ``accuracy`` is the share of clips whose other view is the most similar of all they are
        compared with; ``rate_error`` is the mean absolute error of the rate. In evaluation mode
        clips are compared within the batch alone, and there is no term ``video``.
        """
        views = batch.clips.shape[1]
        vectors = gather(self.projection(clip_vectors(features, self.tap).flatten(0, 1)))
        video = gather(batch.video)
        terms, metrics = self._contrast(vectors, video, views)
        if self.weights.rate:
            error = self._rates(features) - batch.labels["rate"]
            terms["rate"] = self.weights.rate * error.square().mean() / 2
            metrics["rate_error"] = error.detach().abs().mean()
        if self.bank is not None and self.weights.video and self.training:
            summary = self.bank.summary(video).repeat_interleave(views, 0)
            distance = 1 - F.cosine_similarity(vectors, summary).mean()
            terms["video"] = self.weights.video * distance
        if self.bank is not None and self.training:
            # The views are cut from one base clip, so that they share a place and a cell.
            position = gather(batch.labels["position"][:, 0])
            unit = F.normalize(vectors.detach(), dim=1).view(len(video), views, -1)
            self._seen.append((video, position, F.normalize(unit.mean(1), dim=1)))
        return terms, metrics

    def _contrast(
        self, vectors: Tensor, video: Tensor, views: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compare the views with one another and with cells of other videos (equation 3)."""
        cells, owners = vectors.new_empty(0, vectors.shape[1]), video.new_empty(0)
        drawn = owners.bool()
        if self.bank is not None and self.bank_negatives and self.training:
            left_out = video if self.bank_from == "outside" else owners
            cells, owners, drawn = self.bank.sample(self.bank_negatives, left_out)
        scores = similarity(vectors, torch.cat([vectors, cells]), normalise=True)
        positives, negatives = view_pairs(video, views, owners)
        negatives[:, len(vectors) :] &= drawn
        loss = contrast(scores, positives, negatives, temperature=self.temperature)
        accuracy = retrieved(scores, positives, negatives)
        return {"contrast": self.weights.contrast * loss}, {"accuracy": accuracy}

    def _rates(self, features: Mapping[str, Tensor]) -> Tensor:
        """Predict the playback rate (B, V) of each clip."""
        if self.rate_input == "pooled":
            read = clip_vectors(features, self.tap)
        else:
            tap, places = RATE_MAP
            maps = features[tap]
            read = F.adaptive_avg_pool3d(maps.flatten(0, 1), places).view(*maps.shape[:2], -1)
        rates: Tensor = self.rate_head(read).squeeze(-1)
        return rates

    def after_step(self) -> None:
        """Update the bank with the clips of this step, of all processes and parts of a batch."""
        if self.bank is not None and self._seen:
            self.bank.update(*map(torch.cat, zip(*self._seen, strict=True)))
            self._seen.clear()

    def discard_step(self) -> None:
        """Forget what was seen in this step."""
        self._seen.clear()
