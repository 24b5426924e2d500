"""Telling a free label of the sampler: cross entropy over the clips or videos it applies to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ABSENT
from vidssl_plugins.pretexts.mlp import mlp
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_plugins.pretexts.hooks import Classify, Pace


def masked_cross_entropy(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean cross entropy and accuracy over the labels that are not ABSENT.

    Args:
        logits: (N, classes).
        labels: (N,) class numbers or ABSENT.

    Returns:
        Two scalars; both are 0, with zero gradient, where no label applies.
    """
    applies = labels != ABSENT
    count = applies.sum().clamp(min=1)
    loss = F.cross_entropy(logits, labels, ignore_index=ABSENT, reduction="sum") / count
    accuracy = ((logits.argmax(1) == labels) & applies).sum() / count
    return loss, accuracy


class ClassifyPretext(nn.Module):
    """Tells a label of a clip from the clip, or one of a video from all its views together."""

    def __init__(self, options: Classify | Pace, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        classes = context.labels[options.label]
        if not classes:
            raise UsageError(
                f"the label {options.label} is a quantity; {options.name} tells classes apart"
            )
        dim = tap_dim(options.tap, context) * (1 if options.over == "clip" else context.views)
        self.head = mlp([dim, *options.hidden, classes], norm=options.norm)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``."""
        loss, accuracy = masked_cross_entropy(*self._told(features, batch))
        return {"loss": loss}, {"accuracy": accuracy}

    def predictions(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the class that is told of each clip or video, and the true one."""
        logits, labels = self._told(features, batch)
        return {self.options.label: (logits.argmax(1), labels)}

    def _told(self, features: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) and labels (N,)."""
        vectors = clip_vectors(features, self.options.tap, self.options.reduce)
        rows = vectors.flatten(0, 1) if self.options.over == "clip" else vectors.flatten(1)
        return self.head(rows), batch.labels[self.options.label].flatten()
