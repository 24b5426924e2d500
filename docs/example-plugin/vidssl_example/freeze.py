"""The sampler and the head that the options of `freeze` build, with numpy and torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import ClipPlan, Draw, Sampler, View, known_frames

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_cli.contract.videos import Video


class Freeze(Sampler):
    """Plans one clip of consecutive frames; every second one stops in the middle."""

    views = 1

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def rejects(self, video: Video) -> str | None:
        """Reject a video that is shorter than a clip."""
        count = known_frames(video)
        return None if count >= self.frames else f"{count} frames; needs at least {self.frames}"

    def plan(self, video: Video, draw: Draw) -> ClipPlan:
        """Draw where the clip starts, and whether it stops."""
        start = draw("start").integers(known_frames(video) - self.frames + 1)
        frozen = draw("frozen").integers(2)
        steps = np.arange(self.frames)
        if frozen:
            steps = np.minimum(steps, self.frames // 2 - 1)
        return ClipPlan((View(start + steps),), {"frozen": np.array([frozen])})


class FreezeHead(nn.Module):
    """A linear classifier on the pooled representation."""

    def __init__(self, context: PretextContext) -> None:
        super().__init__()
        self.head = nn.Linear(context.feature_dim, context.labels["frozen"])

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``."""
        logits = self.head(features["feat"]).flatten(0, 1)
        labels = batch.labels["frozen"].flatten()
        accuracy = (logits.argmax(1) == labels).float().mean()
        return {"loss": F.cross_entropy(logits, labels)}, {"accuracy": accuracy}
