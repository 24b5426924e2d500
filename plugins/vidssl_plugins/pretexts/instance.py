"""Instance contrast, with or without a slow copy and a queue (Chen et al. 2020, He et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidssl_cli.contract.clips import Batch
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.instance_queue import Queue
from vidssl_plugins.pretexts.options.shared import ProjectionOptions
from vidssl_plugins.pretexts.shared.contrast import (
    Denominator,
    contrast,
    retrieved,
    similarity,
    view_pairs,
)
from vidssl_plugins.pretexts.shared.gather import gather
from vidssl_plugins.pretexts.shared.momentum import SlowEncoder
from vidssl_plugins.pretexts.shared.projection import projection
from vidssl_plugins.pretexts.shared.taps import clip_vectors, tap_dim


class InstancePretext(nn.Module):
    """Contrasts views of one visit with clips of other videos.

    Args:
        options: The tap and its projection.
        context: Network and data.
        temperature: Divides cosines.
        decoupled: Leave positives out of what they compete with.
        momentum: Of the slow copy that keys come from; None for no copy.
        queue: Keys of earlier steps; 0 for none.
    """

    def __init__(
        self,
        options: ProjectionOptions,
        context: PretextContext,
        *,
        temperature: float,
        decoupled: bool,
        momentum: float | None,
        queue: int,
    ) -> None:
        super().__init__()
        self.tap, self.temperature = options.tap, temperature
        self.denominator: Denominator = "decoupled" if decoupled else "anchor"
        dim = tap_dim(options.tap, context)
        self.projection = projection(options, dim)
        self.slow: SlowEncoder | None = None
        if momentum is not None:
            self.slow = SlowEncoder(context, options.tap, self.projection, momentum)
        self.queue = Queue(queue, options.proj_dim or dim) if queue else None
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(
        self, features: Mapping[str, Tensor], batch: Batch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the term ``loss`` and the metric ``accuracy``, over the clips of all processes.

        Accuracy is the share of clips whose most similar key is of another view of the same visit.
        In evaluation mode clips are compared within the batch alone.
        """
        views = batch.clips.shape[1]
        vectors = gather(self.projection(clip_vectors(features, self.tap).flatten(0, 1)))
        video = gather(batch.video)
        keys = vectors if self.slow is None else gather(self.slow(batch.clips))
        candidates, owners = keys, video.new_empty(0)
        if self.queue is not None and self.training:
            old, owners = self.queue.filled()
            candidates = torch.cat([keys, old])
            of_view = video.repeat_interleave(views)
            self._seen.append((F.normalize(keys.detach(), dim=1), of_view))
        scores = similarity(vectors, candidates, normalise=True)
        positives, negatives = view_pairs(video, views, owners)
        total = contrast(
            scores,
            positives,
            negatives,
            temperature=self.temperature,
            denominator=self.denominator,
        )
        return {"loss": total / (views - 1)}, {"accuracy": retrieved(scores, positives, negatives)}

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
