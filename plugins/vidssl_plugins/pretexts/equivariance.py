"""Contrast of what lies between the clips of a video (Jenni, Jin 2021, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vidssl_plugins.pretexts.contrast import contrast, retrieved, similarity
from vidssl_plugins.pretexts.gather import gather
from vidssl_plugins.pretexts.mlp import mlp
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_plugins.pretexts.hooks import Equivariance


class EquivariancePretext(nn.Module):
    """A head psi on the joined clips of a video; videos of one couple belong together."""

    def __init__(self, options: Equivariance, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        dim = tap_dim(options.tap, context)
        hidden = (dim, dim) if options.hidden is None else options.hidden
        widths = [context.views * dim, *hidden, options.dim or dim]
        self.head = mlp(widths, norm=options.norm)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``, over the videos of all processes.

        Accuracy is the share of videos whose most similar rival is their couple's other video.
        """
        options = self.options
        vectors = gather(self.head(clip_vectors(features, options.tap).flatten(1)))
        couple, relation = (gather(batch.labels[name]) for name in ("couple", "relation"))
        together = couple[:, None] == couple
        positives = together & ~torch.eye(len(couple), dtype=torch.bool, device=couple.device)
        same = relation[:, None] == relation if options.mask_equal_relations else together
        others = vectors.detach() if options.stop_gradient else vectors
        scores = similarity(vectors, others, normalise=True)
        loss = contrast(scores, positives, ~same, temperature=options.temperature)
        return {"loss": loss}, {"accuracy": retrieved(scores, positives, ~same)}
