"""Prediction of features of masked tubelets (Bardes et al. 2024, V-JEPA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import Backbone, PretextContext
from vidssl_plugins.backbones.vit import take
from vidssl_plugins.pretexts.shared.completion import Completion, token_backbone
from vidssl_plugins.pretexts.shared.masking import (
    at_all_times,
    block_places,
    check_places,
    grid_of,
)
from vidssl_plugins.pretexts.shared.momentum import MomentumCopy

Mask = tuple[int, float, tuple[float, float]]
"""How many blocks, the share of the places that each covers, limits of height by width."""


class MaskedLatentsPretext(nn.Module):
    """A predictor of a slow copy's features, of tubelets that the backbone does not see.

    Args:
        context: The network.
        masks: Each clip is seen and predicted once for each.
        predictor: Its width, blocks and heads.
        momentum: Share of its weights that the slow copy keeps at each step.
        loss: Distance between what is predicted and the copy's features.
    """

    def __init__(
        self,
        context: PretextContext,
        *,
        masks: Sequence[Mask],
        predictor: tuple[int, int, int],
        momentum: float,
        loss: Literal["l1", "smooth_l1"],
    ) -> None:
        super().__init__()
        self.masks = masks
        self.distance = F.l1_loss if loss == "l1" else F.smooth_l1_loss
        backbone, self.encode = token_backbone(context, "masked_latents")
        self._backbone = (backbone,)  # in a tuple, or it would become a submodule
        self.tubelet = backbone.tubelet
        self.slow = MomentumCopy(cast(nn.Module, backbone), momentum)
        dim = context.feature_dim
        self.predictor = Completion(dim, dim, *predictor, kinds=len(masks))

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss``, a mean over masked tubelets alone, then over the masks.

        The metric ``explained`` is the share of the features' distance to their mean by which the
        prediction is closer; 0 and less where nothing but the mean is predicted.
        """
        clips = batch.clips
        grid = grid_of(clips.flatten(0, 1), self.tubelet)
        times, *places = grid
        check_places(places)
        targets = self.targets(clips, prod(grid))
        losses, spreads = [], []
        for kind, mask in enumerate(self.masks):
            at = block_places(len(targets), (places[0], places[1]), mask, clips.device)
            seen, masked = (at_all_times(part, times, prod(places)) for part in at)
            keep = torch.unflatten(seen, 0, clips.shape[:2])
            tokens = self.encode(self._backbone[0], clips, keep)["tokens"].flatten(0, 1)
            predicted = self.predictor(tokens, seen, masked, prod(grid), kind)
            wanted = take(targets, masked)
            losses.append(self.distance(predicted, wanted))
            spreads.append(self.distance(wanted.mean((0, 1)).expand_as(wanted), wanted))
        loss, spread = torch.stack(losses).mean(), torch.stack(spreads).mean()
        return {"loss": loss}, {"explained": 1 - loss.detach() / spread.clamp(min=1e-6)}

    @torch.no_grad()
    def targets(self, clips: Tensor, count: int) -> Tensor:
        """Return (N, L, D) the slow copy's features of all L tubelets, each standardised."""
        whole = torch.arange(count, device=clips.device).expand(*clips.shape[:2], count)
        tokens = self.encode(cast(Backbone, self.slow.copy), clips, whole)["tokens"]
        return F.layer_norm(tokens.flatten(0, 1), tokens.shape[-1:])

    def after_step(self) -> None:
        """Let the copy follow."""
        self.slow.follow()
