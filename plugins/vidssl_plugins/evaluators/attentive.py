"""The attentive probe: a learned query reads the positions of a frozen map (V-JEPA)."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Crops, Study
from vidssl_plugins.backbones.vit import Block
from vidssl_plugins.evaluators.options.shared import Pooler, TestWindows
from vidssl_plugins.evaluators.shared.fc import Predictor, train_layers
from vidssl_plugins.evaluators.shared.frozen import report_layers
from vidssl_plugins.evaluators.shared.settings import settle

EPS = 1e-6
"""Of layer norms."""


class AttentiveEvaluator:
    """Trains a pooler with one query, and a linear layer, on the positions of clips."""

    def __init__(
        self,
        options: TestWindows,
        pooler: Pooler,
        *,
        clips: int | None,
        stride: int | tuple[int, ...] | None,
        crops: Crops,
        tap: str,
    ) -> None:
        self.options, self.pooler, self.tap = options, pooler, tap
        self.clips, self.stride, self.crops = clips, stride, crops

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy``, ``mean_class_accuracy`` and ``clip_accuracy``.

        Raises:
            UsageError: there are too few training videos or classes, no such tap, or one whose
                channels cannot be divided among the heads.
        """
        settings = settle(
            study,
            clips=self.clips,
            stride=self.stride,
            tap=self.tap,
            pool="flatten",
            crops=self.crops,
        )
        width, heads = study.taps[self.tap], self.pooler.heads
        if width % heads:
            raise UsageError(
                f"the {width} channels of {self.tap} cannot be divided among {heads} heads",
                where="pooler.heads",
                hint=f"--set pooler.heads={np.gcd(width, 8)}",
            )
        maps = len(settings.windows.strides)
        learn = partial(self._learn, width=width, maps=maps, device=study.device)
        facts = {"heads": heads, "blocks": self.pooler.blocks}
        return report_layers(self.options, study, settings, learn, facts)

    def _learn(
        self,
        features: NDArray[np.float32],
        targets: NDArray[np.int64],
        *,
        classes: int,
        width: int,
        maps: int,
        device: str,
    ) -> Predictor:
        """Train on (N, maps x width x positions) features; see `train_layers`."""
        pooler = self.pooler
        build = partial(Probe, width, classes, pooler.heads, pooler.blocks, maps)
        return train_layers(features, targets, build, pooler, device=device)


class Probe(nn.Module):
    """Attention of one learned query to all positions, an MLP, and a linear layer.

    V-JEPA's released form: the query itself is not normalised, and neither is what leaves the MLP.

    Args:
        width: D, channels of a position.
        classes: K.
        heads: Heads of attention.
        blocks: Blocks in which positions attend to each other first.
        maps: Maps of a clip, one after the other, whose positions are all read.
    """

    def __init__(
        self, width: int, classes: int, heads: int, blocks: int = 0, maps: int = 1
    ) -> None:
        super().__init__()
        self.width, self.heads, self.maps = width, heads, maps
        self.query = nn.Parameter(torch.zeros(width))
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width, EPS) for _ in range(blocks))
        self.norm1, self.norm2 = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.to_query, self.to_pairs = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.classify = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.query, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Map flattened maps (N, maps x D x positions) to logits (N, K)."""
        maps = features.view(len(features), self.maps, self.width, -1)
        pooled = self.pool(maps.transpose(2, 3).flatten(1, 2))
        logits: Tensor = self.classify(pooled)
        return logits

    def pool(self, tokens: Tensor) -> Tensor:
        """Map positions (N, L, D) to (N, D)."""
        for block in self.blocks:
            tokens = block(tokens)
        query = self.to_query(self.query).view(1, self.heads, 1, -1)
        pairs = torch.unflatten(self.to_pairs(self.norm1(tokens)), 2, (2, self.heads, -1))
        keys, values = pairs.permute(2, 0, 3, 1, 4)
        query = query.expand(len(tokens), -1, -1, -1)
        mixed = F.scaled_dot_product_attention(query, keys, values)  # (N, heads, 1, d)
        x = self.query + mixed.flatten(1)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out
