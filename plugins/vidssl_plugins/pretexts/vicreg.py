"""Agreement with variance and covariance regularisation (Bardes, Ponce, LeCun 2022, VICReg)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions
from vidssl_plugins.pretexts.shared.contrast import retrieved, similarity, view_pairs
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class VICRegPretext(nn.Module):
    """A projection, and the weights of the three terms."""

    def __init__(
        self,
        options: ProjectionOptions,
        context: PretextContext,
        invariance: float,
        variance: float,
        covariance: float,
    ) -> None:
        super().__init__()
        self.tap = options.tap
        self.weights = {"invariance": invariance, "variance": variance, "covariance": covariance}
        self.projection = projection(options, tap_dim(options.tap, context))

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the three weighted terms, and ``accuracy`` as `instance` has it."""
        views = batch.clips.shape[1]
        vectors = gather(self.projection(clip_vectors(features, self.tap).flatten(0, 1))).float()
        found = terms(torch.unflatten(vectors, 0, (-1, views)))
        weighted = {name: self.weights[name] * value for name, value in found.items()}
        return weighted, {"accuracy": agreement(vectors, gather(batch.video), views)}


def terms(z: Tensor) -> dict[str, Tensor]:
    """Return invariance, variance and covariance of vectors (B, V, D), as the paper defines them.

    With two views the first is their mean square distance; the second is the mean over views, the
    third their sum, which for other V is twice the mean.
    """
    videos, views, dim = z.shape
    centred = z - z.mean(0)
    # Of all pairs of views the mean square distance is twice their variance.
    invariance = 2 * z.var(1).mean()
    deviation = (centred.square().sum(0) / max(videos - 1, 1) + 1e-4).sqrt()
    variance = (1 - deviation).relu().mean()
    covariances = torch.einsum("bvi,bvj->vij", centred, centred) / max(videos - 1, 1)
    others = covariances.square().sum() - covariances.diagonal(dim1=1, dim2=2).square().sum()
    return {
        "invariance": invariance,
        "variance": variance,
        "covariance": 2 * others / (views * dim),
    }


@torch.no_grad()
def agreement(vectors: Tensor, video: Tensor, views: int) -> Tensor:
    """Return the share of clips (B V, D) whose most similar other clip is of the same visit."""
    pairs = view_pairs(video, views, video.new_empty(0))
    return retrieved(similarity(vectors, vectors, normalise=True), *pairs)
