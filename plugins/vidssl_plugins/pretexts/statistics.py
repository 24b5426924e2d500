"""Spatio-temporal statistics as targets of a regression (Wang, thesis 2020, chapters 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim
from vidssl_plugins.pretexts.statistics_appearance import appearance_labels
from vidssl_plugins.pretexts.statistics_motion import motion_labels
from vidssl_plugins.pretexts.statistics_partitions import Pattern

Signal = Literal["motion", "appearance"]
GROUPS: Mapping[Signal, tuple[list[str], list[str]]] = {
    "motion": (["location", "orientation"] * 2, ["time", "time"]),
    "appearance": (["location", "colour"] * 2, ["colour"]),
}
"""Groups of the labels of each pattern, and of those of the whole clip, in their order."""


@dataclass(frozen=True)
class Targets:
    """Which statistics of a clip are labels, and how they are computed."""

    weights: Mapping[Signal, float]
    """Of each signal; 0 leaves it out."""
    patterns: tuple[Pattern, ...]
    """How frames are cut into blocks, each a set of labels."""
    whole: bool
    """Labels of the whole clip too."""
    soft_bins: bool
    """Split motion between the two bins of direction that are nearest."""
    joint: bool
    """One histogram of eight colours instead of three of channels."""
    bins: int
    """Bins of the histogram of a channel."""

    @property
    def signals(self) -> list[Signal]:
        """The signals that have a weight."""
        return [signal for signal, weight in self.weights.items() if weight]

    def groups(self, signal: Signal) -> list[str]:
        """Name the group of each label, L names."""
        of_pattern, of_clip = GROUPS[signal]
        return of_pattern * len(self.patterns) + (of_clip if self.whole else [])

    @torch.no_grad()
    def labels(self, signal: Signal, batch: Batch) -> Tensor:
        """Return the labels (B V, L) of a signal, from flow or from pixels in their own colours."""
        if signal == "motion":
            assert batch.flow is not None
            flow = batch.flow.flatten(0, 1)
            return motion_labels(flow, self.patterns, whole=self.whole, soft_bins=self.soft_bins)
        assert batch.pixels is not None
        pixels = batch.pixels.flatten(0, 1)
        return appearance_labels(
            pixels, self.patterns, whole=self.whole, bins=self.bins, joint=self.joint
        )


class StatisticsPretext(nn.Module):
    """A head for each signal, which predicts its labels as plain numbers."""

    def __init__(
        self,
        context: PretextContext,
        targets: Targets,
        *,
        loss: Literal["mse", "l2norm"],
        tap: str,
        hidden: Sequence[int],
    ) -> None:
        super().__init__()
        self.targets, self.loss, self.tap = targets, loss, tap
        dim = tap_dim(tap, context)
        self.heads = nn.ModuleDict(
            {signal: mlp([dim, *hidden, len(targets.groups(signal))]) for signal in targets.signals}
        )
        for signal in targets.signals:
            groups = targets.groups(signal)
            for group in sorted(set(groups)):  # in one order in all processes
                members = torch.tensor([i for i, name in enumerate(groups) if name == group])
                self.register_buffer(f"{signal}_{group}", members, persistent=False)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return a weighted term for each signal, and how often a rounded answer is right."""
        vectors = clip_vectors(features, self.tap).flatten(0, 1)
        terms: dict[str, Tensor] = {}
        metrics: dict[str, Tensor] = {}
        for signal in self.targets.signals:
            answers, true = self.heads[signal](vectors), self.targets.labels(signal, batch)
            terms[signal] = self.targets.weights[signal] * regression(answers, true, self.loss)
            right = (answers.detach().round() == true).float().mean(0)
            for group in sorted(set(self.targets.groups(signal))):
                members = self.get_buffer(f"{signal}_{group}")
                metrics[f"{signal}_{group}_accuracy"] = right[members].mean()
        return terms, metrics


def regression(answers: Tensor, labels: Tensor, loss: Literal["mse", "l2norm"]) -> Tensor:
    """Return ``mse``, over clips and labels, or ``l2norm``, the mean length of a clip's error."""
    error = answers - labels
    return error.square().mean() if loss == "mse" else error.norm(dim=1).mean()
