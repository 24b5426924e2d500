"""Pace prediction (Wang, thesis 2020, section 4.3; Wang, Jiao, Liu 2020, section 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from vidssl_plugins.pretexts.classify import masked_cross_entropy
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidssl_cli.clips import Batch
    from vidssl_cli.hooks import PretextContext
    from vidssl_plugins.pretexts.hooks import Pace


class PacePretext(nn.Module):
    """A linear classifier of paces, with the mean cross entropy over all clips."""

    def __init__(self, options: Pace, context: PretextContext) -> None:
        super().__init__()
        self.tap = options.tap
        self.head = nn.Linear(tap_dim(options.tap, context), context.labels["pace"])

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``."""
        logits = self.head(clip_vectors(features, self.tap).flatten(0, 1))
        loss, accuracy = masked_cross_entropy(logits, batch.labels["pace"].flatten())
        return {"loss": loss}, {"accuracy": accuracy}
