"""Contrast of the relations between the clips of videos (Jenni, Jin 2021, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.shared.contrast import contrast, retrieved, similarity
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class EquivariancePretext(nn.Module):
    """A head psi on the joined clips of a video; videos of one couple are positive pairs."""

    def __init__(
        self,
        context: PretextContext,
        *,
        tap: str,
        hidden: Sequence[int] | None,
        dim: int | None,
        norm: bool,
        temperature: float,
        stop_gradient: bool,
        mask_equal_relations: bool,
    ) -> None:
        super().__init__()
        self.tap, self.temperature = tap, temperature
        self.stop_gradient, self.mask_equal_relations = stop_gradient, mask_equal_relations
        width = tap_dim(tap, context)
        hidden = (width, width) if hidden is None else hidden
        self.head = mlp([context.views * width, *hidden, dim or width], norm=norm)

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``, over the videos of all processes.

        Accuracy is the share of videos to which another of their couple is the most similar.
        """
        vectors = gather(self.head(clip_vectors(features, self.tap).flatten(1)))
        couple, relation = (gather(batch.labels[name]) for name in ("couple", "relation"))
        together = couple[:, None] == couple
        positives = together.clone().fill_diagonal_(False)
        negatives = relation[:, None] != relation if self.mask_equal_relations else ~together
        others = vectors.detach() if self.stop_gradient else vectors
        scores = similarity(vectors, others, normalise=True)
        loss = contrast(
            scores, positives, negatives, temperature=self.temperature, denominator="pair"
        )
        return {"loss": loss}, {"accuracy": retrieved(scores, positives, negatives)}
