"""Masked autoencoding of video (Tong et al. 2022, VideoMAE)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.backbones.vit import take
from vidssl_plugins.pretexts.shared.completion import Completion, token_backbone
from vidssl_plugins.pretexts.shared.masking import (
    Split,
    at_all_times,
    check_places,
    grid_of,
    random_places,
)


class MaskedPixelsPretext(nn.Module):
    """A decoder, which predicts the pixels of tubelets that the backbone does not see.

    Args:
        context: The network.
        ratio: Share of tubelets that are masked.
        tube: Mask the same places at all times.
        decoder: Its width, blocks and heads.
        normalise: Predict pixels standardised in each tubelet and colour.
        differences: Predict differences of consecutive frames.
    """

    def __init__(
        self,
        context: PretextContext,
        *,
        ratio: float,
        tube: bool,
        decoder: tuple[int, int, int],
        normalise: bool,
        differences: bool,
    ) -> None:
        super().__init__()
        self.ratio, self.tube, self.normalise, self.differences = (
            ratio,
            tube,
            normalise,
            differences,
        )
        backbone, self.encode = token_backbone(context, "masked_pixels")
        self._backbone = (backbone,)  # in a tuple, or it would become a submodule
        self.tubelet = backbone.tubelet
        self.decoder = Completion(context.feature_dim, 3 * prod(self.tubelet), *decoder)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss``, a mean square over masked tubelets alone.

        The metric ``explained`` is the share of the variance of their pixels that is predicted.
        """
        clips = batch.clips.flatten(0, 1)
        grid = grid_of(clips, self.tubelet)
        seen, masked = self.split(len(clips), grid, clips.device)
        keep = torch.unflatten(seen, 0, batch.clips.shape[:2])
        tokens = self.encode(self._backbone[0], batch.clips, keep)["tokens"].flatten(0, 1)
        predicted = self.decoder(tokens, seen, masked, prod(grid))
        wanted = self.targets(clips, masked)
        loss = F.mse_loss(predicted, wanted)
        explained = 1 - loss.detach() / wanted.var().clamp(min=1e-6)
        return {"loss": loss}, {"explained": explained}

    def split(self, clips: int, grid: tuple[int, int, int], device: torch.device) -> Split:
        """Draw the numbers of the tubelets that are seen (N, n) and masked (N, m)."""
        times, *places = grid
        check_places(places)
        if not self.tube:
            return random_places(clips, prod(grid), self.ratio, device)
        seen, masked = random_places(clips, prod(places), self.ratio, device)
        return at_all_times(seen, times, prod(places)), at_all_times(masked, times, prod(places))

    def targets(self, clips: Tensor, masked: Tensor) -> Tensor:
        """Return (N, m, E) what is predicted of clips (N, 3, T, H, W).

        The E numbers are in the order of frames, rows, columns and colours. Normalising takes out
        how the input was normalised.
        """
        if self.differences:
            moves = clips.diff(dim=2)
            clips = torch.cat([moves, moves[:, :, -1:]], dim=2)
        pixels = take(tubelets(clips, self.tubelet), masked)
        if self.normalise:
            colours = torch.unflatten(pixels, 2, (-1, 3))
            mean, deviation = colours.mean(2, keepdim=True), colours.std(2, keepdim=True)
            pixels = ((colours - mean) / (deviation + 1e-6)).flatten(2)
        return pixels


def tubelets(clips: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Cut clips (N, C, T, H, W) into tubelets (N, L, E) of so many frames, rows and columns."""
    times, rows, columns = grid_of(clips, size)
    frames, height, width = size
    whole = clips[:, :, : times * frames, : rows * height, : columns * width]
    parts = whole.reshape(*clips.shape[:2], times, frames, rows, height, columns, width)
    return parts.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4).flatten(1, 3)
