"""Classification of a label of the sampler, from a clip or from all views of a video."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.options.shared import ClassifyOptions
from vidssl_plugins.pretexts.shared.classification import LabelClassifier
from vidssl_plugins.pretexts.shared.mlp import mlp
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
        dim = tap_dim(options.tap, context) * (context.views if over == "video" else 1)
        self.head = mlp([dim, *options.hidden, classes], norm=options.norm)

    def logits(self, features: Mapping[str, Tensor], batch: Batch) -> tuple[Tensor, Tensor]:
        """Return logits (N, classes) and labels (N,) of clips or videos."""
        vectors = clip_vectors(features, self.tap, self.reduce)
        match self.over:
            case "clip":
                rows = vectors.flatten(0, 1)
            case "video":
                rows = vectors.flatten(1)
            case "difference":
                rows = vectors[:, 0] - vectors[:, 1]
        return self.head(rows), batch.labels[self.label].flatten()
