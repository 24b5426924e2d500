"""Instance contrast, with or without a slow copy and a queue (Chen et al. 2020, He et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_plugins.pretexts.bank import Queue
from vidssl_plugins.pretexts.contrast import contrast, retrieved, similarity, view_pairs
from vidssl_plugins.pretexts.gather import gather
from vidssl_plugins.pretexts.mlp import projection
from vidssl_plugins.pretexts.momentum import MomentumCopy
from vidssl_plugins.pretexts.taps import clip_vectors, tap_dim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vidssl_cli.contract.clips import Batch
    from vidssl_cli.contract.hooks import Backbone, PretextContext
    from vidssl_plugins.pretexts.options.memory import Instance


class InstancePretext(nn.Module):
    """Projection, and where the options say so a slow copy of everything, and a queue of keys."""

    def __init__(self, options: Instance, context: PretextContext) -> None:
        super().__init__()
        self.options = options
        self.encode = context.encode
        dim = tap_dim(options.tap, context)
        self.projection = projection(options, dim)
        self.slow: MomentumCopy | None = None
        if options.momentum is not None:
            learning = nn.ModuleList([cast(nn.Module, context.backbone), self.projection])
            self.slow = MomentumCopy(learning, options.momentum)
        self.queue = Queue(options.queue, options.proj_dim or dim) if options.queue else None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``, over the clips of all processes.

        Accuracy is the share of clips whose most similar key is of another view of the same visit.
        In evaluation mode clips are compared within the batch alone.
        """
        options = self.options
        views = batch.clips.shape[1]
        vectors = gather(self.projection(clip_vectors(features, options.tap).flatten(0, 1)))
        video = gather(batch.video)
        keys = vectors if self.slow is None else self._keys(self.slow, batch)
        candidates, owners = keys, video.new_empty(0)
        if self.queue is not None and self.training:
            old, owners = self.queue.filled()
            candidates = torch.cat([keys, old])
            of_view = video.repeat_interleave(views)
            self._seen.append((F.normalize(keys.detach(), dim=1), of_view))
        scores = similarity(vectors, candidates, normalise=True)
        positives, negatives = view_pairs(video, views, owners)
        total = contrast(scores, positives, negatives, temperature=options.temperature)
        return {"loss": total / (views - 1)}, {"accuracy": retrieved(scores, positives, negatives)}

    @torch.no_grad()
    def _keys(self, slow: MomentumCopy, batch: Batch) -> Tensor:
        """Return what the slow copy makes of the clips of all processes."""
        assert self.encode is not None
        backbone, head = cast(nn.ModuleList, slow.copy)
        features = self.encode(cast("Backbone", backbone), batch.clips)
        return gather(head(clip_vectors(features, self.options.tap).flatten(0, 1)))

    def after_step(self) -> None:
        """Move the copy, and put the keys of all parts of the batch into the queue."""
        if self.slow is not None:
            self.slow.follow()
        if self.queue is not None and self._seen:
            self.queue.enqueue(*map(torch.cat, zip(*self._seen, strict=True)))
            self._seen.clear()

    def discard_step(self) -> None:
        """Forget what was seen in this step."""
        self._seen.clear()
