"""Contrast of clips by what they share (Wang, thesis 2020, section 4.2.3)."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.options.shared import ContrastOptions
from vidssl_plugins.pretexts.shared.contrast import contrast, retrieved, similarity
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class GroupContrast(nn.Module, abc.ABC):
    """Any two clips of one group are a positive pair, clips of two groups a negative one."""

    def __init__(self, options: ContrastOptions, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        self.projection = projection(options, tap_dim(options.tap, context))

    @abc.abstractmethod
    def groups(self, batch: Batch) -> Tensor:
        """Return the group (B, V) of each clip."""

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``, over the clips of all processes.

        Accuracy is the share of clips whose most similar other clip is of their group.
        """
        options = self.options
        vectors = self.projection(clip_vectors(features, options.tap).flatten(0, 1))
        vectors, groups = gather(vectors), gather(self.groups(batch).flatten())
        together = groups[:, None] == groups
        positives = together & ~torch.eye(len(groups), dtype=torch.bool, device=groups.device)
        others = vectors.detach() if options.stop_gradient else vectors
        scores = similarity(vectors, others, normalise=options.normalise)
        loss = contrast(
            scores,
            positives,
            ~together,
            temperature=options.temperature,
            denominator=options.denominator,
        )
        return {"loss": loss}, {"accuracy": retrieved(scores, positives, ~together)}
