"""Maps of what a network responds to in a clip, for a run and the same with random weights.

Letters: T frames, S side of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.model.classifier import Classifier
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import pool_tap
from vidssl_cli.pages import saliency

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.contract.videos import Video

Method = Literal["attention", "guided_backprop"]

CUSTOMARY = "conv5"
"""The tap whose attention is drawn by default, as in the papers."""
CALIBRATION_CLIPS = 32
"""Clips, of all videos, that the network with random weights takes its norms' statistics from."""
BRIGHTEST = 0.998
"""Share of the values of a gradient that lie within the scale of colours."""


@dataclass(frozen=True)
class Settings:
    """What to draw, and how."""

    method: Method = "attention"
    tap: str | None = None
    """Layer; None stands for conv5, or for the classifier's logit."""
    time: saliency.Time = "linear"
    """How the few frames of a layer become those of the clip."""
    clips: int = 1
    """Of each video, evenly spaced; a single one is its middle."""
    side: int = 128
    """S, of the pictures."""
    singles: bool = False
    """Whether every frame is written as a picture of its own as well."""


class Explainer:
    """Makes maps of a network, with its classifier if it has one."""

    def __init__(self, encoder: Encoder, classifier: Classifier | None) -> None:
        self.encoder = encoder
        self.classifier = classifier
        encoder.backbone.requires_grad_(False)
        if classifier:
            classifier.learner.eval()

    def explain(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return a map (T, S, S) of a clip (1, 3, T, ., .), from 0 to 1, and its title.

        Raises:
            UsageError: The attention of a tap is asked for that is a vector.
        """
        attention = settings.method == "attention"
        return self._attention(clip, settings) if attention else self._backprop(clip, settings)

    def _attention(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        taps = self.encoder.taps_of(clip)
        maps = [name for name, tap in taps.items() if tap.ndim == 5]
        name = settings.tap or (CUSTOMARY if CUSTOMARY in maps else maps[-1])
        if name not in maps:
            raise UsageError(
                f"the tap {name} is a vector here: it has no places to draw",
                where="--tap",
                hint=f"these have time and space: {', '.join(maps)}",
            )
        cells = saliency.unit(saliency.energy(taps[name][0]))
        size = (clip.shape[2], settings.side, settings.side)
        return saliency.min_max(saliency.spread(cells, size, settings.time)), f"attention of {name}"

    def _backprop(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        with torch.enable_grad():
            clip = clip.detach().clone().requires_grad_()
            score, said = self._score(clip, settings)
            gradient = saliency.guided_gradient(score, clip)
        values = torch.from_numpy(saliency.without_median(gradient[0])).amax(0)
        limit = float(np.quantile(values.numpy(), BRIGHTEST))
        values = saliency.min_max(values.clamp(max=limit))
        return saliency.spread(values, (clip.shape[2], settings.side, settings.side)), said

    def _score(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return what to propagate back, and its name.

        It is the logit of the predicted class if there is a classifier and no tap was asked for,
        and else the length of the representation: pooled as the run's recipe says if it is the
        recipe's tap, averaged over time and space if it is another.
        """
        if self.classifier and settings.tap is None:
            logits = self.classifier.learner.logits(clip[None], torch.float32)[0, 0]
            best = int(logits.argmax())
            return logits[best], f"logit of {self.classifier.classes[best]}"
        evaluation = self.encoder.evaluation
        tap = settings.tap or evaluation.tap
        pool = evaluation.pool if tap == evaluation.tap else "gap"
        vector = pool_tap(self.encoder.project(self.encoder.backbone(clip))[tap], pool)
        return vector.norm(), f"length of {tap}"


def open_explainers(
    run: Path, encoder: Encoder, checkpoint: str, videos: Sequence[Video]
) -> Mapping[str, Explainer]:
    """Return the explainers of ``run`` and ``random``, the same network with random weights.

    Args:
        run: Run directory or exported model.
        encoder: What was loaded from it.
        checkpoint: Of a run.
        videos: The random network takes its norms' statistics from clips of them.
    """
    random = encoder.randomised()
    seen = videos[:CALIBRATION_CLIPS]
    random.calibrate(seen, [], clips=ceil(CALIBRATION_CLIPS / len(seen)))
    classifier = Classifier.load(run, encoder, checkpoint)
    untrained = classifier and Classifier.build(random, classifier.classes, classifier.recipe)
    return {"run": Explainer(encoder, classifier), "random": Explainer(random, untrained)}
