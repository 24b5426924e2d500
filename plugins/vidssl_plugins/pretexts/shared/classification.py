"""Classification of labels: cross entropy over the clips or videos that a label applies to."""

from __future__ import annotations

import abc
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import ABSENT, Batch


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


class LabelClassifier(nn.Module, abc.ABC):
    """Classifies one label of the sampler."""

    label: str

    @abc.abstractmethod
    def decisions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return by label logits (B, V, classes) of clips, or (B, classes) of videos.

        Nothing, where V is another number of clips than a video is told by.
        """

    @abc.abstractmethod
    def logits(self, features: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) and true classes (N,)."""

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``."""
        loss, accuracy = masked_cross_entropy(*self.logits(features, batch))
        return {"loss": loss}, {"accuracy": accuracy}

    def predictions(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Return predicted and true classes (N,) of the label."""
        logits, true = self.logits(features, batch)
        return {self.label: (logits.argmax(1), true)}
