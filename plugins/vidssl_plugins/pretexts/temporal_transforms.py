"""Recognising temporal transformations (Jenni, Meishvili, Favaro 2020, section 3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ABSENT
from vidssl_plugins.pretexts.classify import masked_cross_entropy
from vidssl_plugins.pretexts.mlp import mlp
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_plugins.pretexts.hooks import TemporalTransforms


TERMS = {"transform": "motion", "speed": "speed"}
"""What the loss of each label is called."""


class TemporalTransformsPretext(nn.Module):
    """One last layer to motion and speed logits, with a softmax over each part.

    The motion term counts all clips. The speed term counts clips at speed, and periodic ones
    where the options say so; random and warped clips never have a speed.
    """

    def __init__(self, options: TemporalTransforms, context: PretextContext) -> None:
        super().__init__()
        self.tap = options.tap
        self.types, self.speeds = context.labels["transform"], context.labels["speed"]
        self.motion_weight = float(self.types) if options.weighting == "literal" else 1.0
        self.speed_on = options.speed_on
        if self.types == 1 and not self.speed_on:
            raise UsageError(
                "temporal_transforms has nothing to tell: one type of clip, and no speed term",
                hint="add a type to the sampler, or speed to the pretext's speed_on",
            )
        widths = [tap_dim(options.tap, context), *options.hidden, self.types + self.speeds]
        self.head = mlp(widths, norm=options.norm)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the terms ``motion`` and ``speed`` and the accuracy of each."""
        terms, metrics = {}, {}
        for label, (logits, true) in self._told(features, batch).items():
            name = TERMS[label]
            loss, metrics[f"{name}_accuracy"] = masked_cross_entropy(logits, true)
            terms[name] = (self.motion_weight if label == "transform" else 1.0) * loss
        return terms, metrics

    def predictions(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the transformation and the speed that are told of each clip, and the true ones."""
        told = self._told(features, batch)
        return {label: (logits.argmax(1), true) for label, (logits, true) in told.items()}

    def _told(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return logits (N, classes) and labels (N,) of each part that has something to tell."""
        logits = self.head(clip_vectors(features, self.tap).flatten(0, 1))
        motion, speed = logits.split([self.types, self.speeds], dim=1)
        transform = batch.labels["transform"].flatten()
        told = {}
        if self.types > 1:
            told["transform"] = motion, transform
        if self.speed_on:
            told["speed"] = speed, self._counted(transform, batch.labels["speed"].flatten())
        return told

    def _counted(self, transform: Tensor, speed: Tensor) -> Tensor:
        """Mark the speed ABSENT on clips whose type does not count in the speed term."""
        at_speed = transform == 0  # any other clip with a speed is periodic
        counted = torch.zeros_like(at_speed)
        if "speed" in self.speed_on:
            counted |= at_speed
        if "periodic" in self.speed_on:
            counted |= ~at_speed
        return speed.masked_fill(~counted, ABSENT)
