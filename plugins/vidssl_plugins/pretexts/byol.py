"""Prediction of a slow copy's vectors, without negatives (Grill et al. 2020, BYOL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.options.shared import ProjectionOptions
from vidssl_plugins.pretexts.shared.contrast import retrieved, similarity, view_pairs
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.momentum import SlowEncoder
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class BYOLPretext(nn.Module):
    """A projection, a predictor, and a slow copy of network and projection.

    Args:
        options: The tap and its projection.
        context: Network and data.
        predictor: Widths of the predictor, which gives what it gets.
        momentum: Of the slow copy.
    """

    def __init__(
        self,
        options: ProjectionOptions,
        context: PretextContext,
        predictor: Sequence[int],
        momentum: float,
    ) -> None:
        super().__init__()
        self.tap = options.tap
        self.projection = projection(options, tap_dim(options.tap, context))
        self.predictor = mlp(predictor, norm=options.proj_norm)
        self.slow = SlowEncoder(context, options.tap, self.projection, momentum)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss``, and ``accuracy`` as `instance` has it.

        The loss is 2 - 2 cosine of each clip's prediction and the slow copy's vectors of the
        other clips of its visit, the mean over all of them.
        """
        views = batch.clips.shape[1]
        vectors = self.projection(clip_vectors(features, self.tap).flatten(0, 1))
        predicted, targets = gather(self.predictor(vectors)), gather(self.slow(batch.clips))
        positives, negatives = view_pairs(gather(batch.video), views, batch.video.new_empty(0))
        cosines = similarity(predicted, targets, normalise=True)
        agreement = torch.where(positives, cosines, 0).sum() / positives.sum()
        metrics = {"accuracy": retrieved(cosines.detach(), positives, negatives)}
        return {"loss": 2 - 2 * agreement}, metrics

    def after_step(self) -> None:
        """Let the copy follow."""
        self.slow.follow()
