"""Classification of temporal transformations (Jenni, Meishvili, Favaro 2020, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ABSENT, Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.shared.classification import masked_cross_entropy
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim

TERMS = {"transform": "motion", "speed": "speed"}
"""What the loss of each label is called."""


class TemporalTransformsPretext(nn.Module):
    """One last layer to motion and speed logits, with a softmax over each part.

    The motion term counts all clips. The speed term counts clips at speed, and periodic ones
    where the options say so; random and warped clips never have a speed.
    """

    def __init__(
        self,
        context: PretextContext,
        *,
        tap: str,
        hidden: Sequence[int],
        norm: bool,
        weighting: Literal["literal", "released"],
        speed_on: Sequence[Literal["speed", "periodic"]],
    ) -> None:
        super().__init__()
        self.tap, self.speed_on = tap, speed_on
        self.types, self.speeds = context.labels["transform"], context.labels["speed"]
        self.motion_weight = float(self.types) if weighting == "literal" else 1.0
        if self.types == 1 and not speed_on:
            raise UsageError(
                "temporal_transforms has nothing to classify: one type of clip, and no speed term",
                hint="add a type to the sampler, or speed to the pretext's speed_on",
            )
        widths = [tap_dim(tap, context), *hidden, self.types + self.speeds]
        self.head = mlp(widths, norm=norm)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the terms ``motion`` and ``speed`` and the accuracy of each."""
        terms, metrics = {}, {}
        for label, (logits, true) in self._logits(features, batch).items():
            name = TERMS[label]
            loss, metrics[f"{name}_accuracy"] = masked_cross_entropy(logits, true)
            terms[name] = (self.motion_weight if label == "transform" else 1.0) * loss
        return terms, metrics

    def predictions(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the predicted and the true transformation and speed of each clip."""
        found = self._logits(features, batch)
        return {label: (logits.argmax(1), true) for label, (logits, true) in found.items()}

    def decisions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return logits (B, V, classes) of each label that has several classes."""
        vectors = clip_vectors(features, self.tap)
        logits = self.head(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
        motion, speed = logits.split([self.types, self.speeds], dim=2)
        return ({"transform": motion} if self.types > 1 else {}) | (
            {"speed": speed} if self.speed_on else {}
        )

    def _logits(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return logits (N, classes) and labels (N,) of each label that has several classes."""
        transform = batch.labels["transform"].flatten()
        speed = self._counted(transform, batch.labels["speed"].flatten())
        true = {"transform": transform, "speed": speed}
        return {
            label: (logits.flatten(0, 1), true[label])
            for label, logits in self.decisions(features).items()
        }

    def _counted(self, transform: Tensor, speed: Tensor) -> Tensor:
        """Mark the speed ABSENT on clips whose type does not count in the speed term."""
        at_speed = transform == 0  # any other clip with a speed is periodic
        counted = torch.zeros_like(at_speed)
        if "speed" in self.speed_on:
            counted |= at_speed
        if "periodic" in self.speed_on:
            counted |= ~at_speed
        return speed.masked_fill(~counted, ABSENT)
