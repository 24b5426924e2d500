"""Spatio-temporal statistics as targets of a regression (Wang, thesis 2020, chapters 2 and 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vidssl_plugins.pretexts.mlp import mlp
from vidssl_plugins.pretexts.statistics_appearance import appearance_labels
from vidssl_plugins.pretexts.statistics_motion import motion_labels
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import PretextContext
    from vidssl_plugins.pretexts.options.statistics import Statistics


class StatisticsPretext(nn.Module):
    """A head for each signal, motion and appearance, that tells its labels as plain numbers."""

    def __init__(self, options: Statistics, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        self.weights = {"motion": options.motion, "appearance": options.appearance}
        self.groups = {
            "motion": _groups(["location", "orientation"] * 2, ["time", "time"], options),
            "appearance": _groups(["location", "colour"] * 2, ["colour"], options),
        }
        dim = tap_dim(options.tap, context)
        self.heads = nn.ModuleDict(
            {
                signal: mlp([dim, *options.hidden, len(self.groups[signal])])
                for signal, weight in self.weights.items()
                if weight
            }
        )

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return a weighted term for each signal, and how often a rounded answer is right."""
        vectors = clip_vectors(features, self.options.tap).flatten(0, 1)
        terms, metrics = {}, {}
        for signal, head in self.heads.items():
            answers, true = head(vectors), labels(signal, batch, self.options)
            terms[signal] = self.weights[signal] * regression(answers, true, self.options.loss)
            right = (answers.detach().round() == true).float().mean(0)
            for group in sorted(set(self.groups[signal])):
                members = [i for i, name in enumerate(self.groups[signal]) if name == group]
                metrics[f"{signal}_{group}_accuracy"] = right[members].mean()
        return terms, metrics


@torch.no_grad()
def labels(signal: str, batch: Batch, options: Statistics) -> Tensor:
    """Return the labels (B V, L) of a signal, from uncoloured pixels or from flow."""
    if signal == "motion":
        assert batch.flow is not None
        flow = batch.flow.flatten(0, 1)
        return motion_labels(
            flow, options.patterns, whole=options.whole, soft_bins=options.soft_bins
        )
    assert batch.pixels is not None
    return appearance_labels(
        batch.pixels.flatten(0, 1),
        options.patterns,
        whole=options.whole,
        bins=options.bins,
        joint=options.iou == "joint8",
    )


def regression(answers: Tensor, labels: Tensor, loss: str) -> Tensor:
    """Return ``mse``, over clips and labels, or ``l2norm``, the mean length of a clip's error."""
    error = answers - labels
    return error.square().mean() if loss == "mse" else error.norm(dim=1).mean()


def _groups(of_pattern: list[str], of_clip: list[str], options: Statistics) -> list[str]:
    """Name the group of each label."""
    return of_pattern * len(options.patterns) + (of_clip if options.whole else [])
