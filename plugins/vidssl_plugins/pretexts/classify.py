"""Cross entropy and accuracy over the clips that a label applies to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.nn.functional as F

from vidssl_cli.clips import ABSENT

if TYPE_CHECKING:
    from torch import Tensor


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
