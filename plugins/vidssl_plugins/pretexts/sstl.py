"""Clips of one stretch of a video against a memory of all videos (SSTL 2021, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_plugins.pretexts.bank import TemporalBank
from vidssl_plugins.pretexts.contrast import contrast, retrieved, similarity, view_pairs
from vidssl_plugins.pretexts.gather import gather
from vidssl_plugins.pretexts.mlp import mlp, projection
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_plugins.pretexts.options.memory import SSTL

RATE_MAP = ("conv5", (1, 4, 4))
"""What the option ``rate_input: map`` reads, and the places to which it is averaged."""


class SSTLPretext(nn.Module):
    """Projection, rate head and bank; losses come first, the bank learns after the step."""

    def __init__(self, options: SSTL, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        dim = tap_dim(options.tap, context)
        self.projection = projection(options, dim)
        if options.rate_weight:
            if options.rate_input == "map":
                tap, places = RATE_MAP
                dim = tap_dim(tap, context) * torch.Size(places).numel()
            self.rate_head = mlp([dim, options.rate_hidden, 1])
        if options.remembers:
            width = options.proj_dim or tap_dim(options.tap, context)
            self.bank = TemporalBank(context.videos, width, options)
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return weighted terms ``contrast``, ``rate`` and ``video``, and two metrics.

        ``accuracy`` is the share of clips whose other view is the most similar of all they are
        compared with; ``rate_error`` is the mean distance of the rate that is told. In evaluation
        mode clips are compared within the batch alone, and there is no term ``video``.
        """
        options = self.options
        views = batch.clips.shape[1]
        vectors = gather(self.projection(clip_vectors(features, options.tap).flatten(0, 1)))
        video = gather(batch.video)
        terms, metrics = self._contrast(vectors, video, views)
        if options.rate_weight:
            error = self._rates(features) - batch.labels["rate"]
            terms["rate"] = options.rate_weight * error.square().mean() / 2
            metrics["rate_error"] = error.detach().abs().mean()
        if options.video_weight and self.training:
            summary = self.bank.summary(video).repeat_interleave(views, 0)
            distance = 1 - F.cosine_similarity(vectors, summary).mean()
            terms["video"] = options.video_weight * distance
        if options.remembers and self.training:
            # The views are cut from one base clip, so that they share a place and a cell.
            position = gather(batch.labels["position"][:, 0])
            unit = F.normalize(vectors.detach(), dim=1).view(len(video), views, -1)
            self._seen.append((video, position, F.normalize(unit.mean(1), dim=1)))
        return terms, metrics

    def _contrast(
        self, vectors: Tensor, video: Tensor, views: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Compare the views with one another and with cells of other videos (equation 3)."""
        options = self.options
        cells, owners = vectors.new_empty(0, vectors.shape[1]), video.new_empty(0)
        if options.bank_negatives and self.training:
            cells, owners = self.bank.sample(options.bank_negatives)
        scores = similarity(vectors, torch.cat([vectors, cells]), normalise=True)
        positives, negatives = view_pairs(video, views, owners)
        loss = contrast(scores, positives, negatives, temperature=options.temperature)
        accuracy = retrieved(scores, positives, negatives)
        return {"contrast": options.contrast_weight * loss}, {"accuracy": accuracy}

    def _rates(self, features: Mapping[str, Tensor]) -> Tensor:
        """Tell the playback rate (B, V) of each clip."""
        if self.options.rate_input == "pooled":
            read = clip_vectors(features, self.options.tap)
        else:
            tap, places = RATE_MAP
            maps = features[tap]
            read = F.adaptive_avg_pool3d(maps.flatten(0, 1), places).view(*maps.shape[:2], -1)
        rates: Tensor = self.rate_head(read).squeeze(-1)
        return rates

    def after_step(self) -> None:
        """Let the bank learn what was seen in this step, of all processes and parts of a batch."""
        if self._seen:
            self.bank.update(*map(torch.cat, zip(*self._seen, strict=True)))
            self._seen.clear()

    def discard_step(self) -> None:
        """Forget what was seen in this step."""
        self._seen.clear()
