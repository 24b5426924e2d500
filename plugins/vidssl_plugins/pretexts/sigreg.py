"""Agreement of clips whose vectors are kept Gaussian (Balestriero, LeCun 2025, LeJEPA).

From the paper's formulas, not from its code: the statistic of Epps and Pulley with the weight
exp(-t^2 / sigma^2), sigma = 1, on 17 points from -5 to 5; directions that are drawn anew at every
step; the mean over directions and views, times lambda (0.05), and 1 - lambda times the mean square
distance of each view to the mean of its visit. Three things differ: the paper's listing of the
algorithm weights by exp(-t^2 / 2), a wider window; there all processes draw the same directions,
here each its own; and there the mean is of two large views alone, here of all. Nothing of LeVJEPA
but its share of tubelets and its lambda is followed: its paper was not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.options.shared import ProjectionOptions
from vidssl_plugins.pretexts.shared.completion import token_backbone
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.masking import grid_of, random_places
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim
from vidssl_plugins.pretexts.vicreg import agreement

KNOTS, REACH = 17, 5.0
"""Points of the integral, from -REACH to REACH (LeJEPA)."""


class SIGRegPretext(nn.Module):
    """A projection, the weight of the test, how many directions, and the share left out."""

    def __init__(
        self,
        options: ProjectionOptions,
        context: PretextContext,
        strength: float,
        directions: int,
        drop: float,
    ) -> None:
        super().__init__()
        self.tap, self.strength = options.tap, strength
        self.directions, self.drop = directions, drop
        self.context = context
        if drop:
            token_backbone(context, "sigreg with drop")
        self.projection = projection(options, tap_dim(options.tap, context))

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the weighted terms ``invariance`` and ``gaussian``, and ``accuracy``."""
        views = batch.clips.shape[1]
        clips = self.seen(batch) if self.drop else clip_vectors(features, self.tap)
        vectors = gather(self.projection(clips.flatten(0, 1))).float()
        z = torch.unflatten(vectors, 0, (-1, views))
        apart = (z - z.mean(1, keepdim=True)).square().mean()
        along = F.normalize(torch.randn(z.shape[2], self.directions, device=z.device), dim=0)
        terms = {
            "invariance": (1 - self.strength) * apart,
            "gaussian": self.strength * epps_pulley(z @ along).mean(),
        }
        return terms, {"accuracy": agreement(vectors, gather(batch.video), views)}

    def seen(self, batch: Batch) -> Tensor:
        """Return (B, V, D) averages of the tokens that are not left out."""
        backbone, encode = token_backbone(self.context, "sigreg with drop")
        count = prod(grid_of(batch.clips.flatten(0, 1), backbone.tubelet))
        clips = batch.clips.shape[0] * batch.clips.shape[1]
        keep, _ = random_places(clips, count, self.drop, batch.clips.device)
        whole = torch.unflatten(keep, 0, batch.clips.shape[:2])
        return encode(backbone, batch.clips, whole)["tokens"].mean(2)


def epps_pulley(x: Tensor, knots: int = KNOTS) -> Tensor:
    """Return how far samples (B, …) are from a standard normal distribution, (…).

    B times the integral over t of |mean exp(i t x) - exp(-t^2 / 2)|^2 exp(-t^2), by trapezoids.
    """
    t = torch.linspace(-REACH, REACH, knots, device=x.device)
    angles = x[..., None] * t
    normal = (-(t**2) / 2).exp()
    distance = (angles.cos().mean(0) - normal).square() + angles.sin().mean(0).square()
    return len(x) * torch.trapezoid(distance * (-(t**2)).exp(), t, dim=-1)
