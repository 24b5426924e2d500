"""Classification of a label of the sampler, from a clip or from all views of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.mlp import mlp
from vidssl_plugins.pretexts.options.shared import ClassifyOptions
from vidssl_plugins.pretexts.shared.classification import LabelClassifier
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class ClassifyPretext(LabelClassifier):
    """Predicts a label of a clip from the clip, or one of a video from all its views together."""

    def __init__(
        self,
        options: ClassifyOptions,
        context: PretextContext,
        label: str,
        over: Literal["clip", "video", "difference"] = "clip",
    ) -> None:
        super().__init__()
        self.label, self.over = label, over
        self.tap, self.reduce = options.tap, options.reduce
        classes = context.labels[label]
        if not classes:
            raise UsageError(
                f"the label {label} is a quantity; {options.name} needs one that has classes"
            )
        if over == "difference" and context.views != 2:
            raise UsageError(
                f"the difference is that of two views; the sampler plans {context.views}"
            )
        self.views = context.views
        dim = tap_dim(options.tap, context) * (context.views if over == "video" else 1)
        self.head = mlp([dim, *options.hidden, classes], norm=options.norm)

    def decisions(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return logits (B, V, K) of clips, or (B, K) of videos."""
        vectors = clip_vectors(features, self.tap, self.reduce)
        if self.over == "clip":
            logits = self.head(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
            return {self.label: logits}
        if vectors.shape[1] != self.views:
            return {}
        joined = vectors.flatten(1) if self.over == "video" else vectors[:, 0] - vectors[:, 1]
        return {self.label: self.head(joined)}

    def logits(self, features: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (N, K) and labels (N,) of clips or videos."""
        logits = self.decisions(features)[self.label]
        return logits.flatten(0, -2), batch.labels[self.label].flatten()
