"""Maps of what a network responds to in a clip, for a run and the same with random weights.

Letters: T frames, S side of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from vidssl_cli.base.errors import UsageError
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import pool_tap
from vidssl_cli.pages import saliency
from vidssl_cli.pages.decisions import Heads, explain_decision, open_heads

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.contract.videos import Video

Method = Literal["attention", "guided_backprop"]

CUSTOMARY = "conv5"
"""The tap whose attention is drawn by default, as in the papers."""
CALIBRATION_CLIPS = 32
"""Clips, of all videos, that the network with random weights takes its norms' statistics from."""


@dataclass(frozen=True)
class Settings:
    """What to draw, and how."""

    method: Method = "attention"
    tap: str | None = None
    """Layer; None stands for conv5, or for the classifier's logit."""
    decision: str | None = None
    """What is propagated back: ``label`` stands for the class that is decided for, ``label=class``
    for a certain one. None stands for the classifier's label, or for the representation."""
    time: saliency.Time = "linear"
    """How the few frames of a layer become those of the clip."""
    clips: int = 1
    """Of each video, evenly spaced; a single one is its middle."""
    strides: tuple[int, ...] = ()
    """Distances in frames between two frames of a clip; none stands for the run's own."""
    boundaries: bool = False
    """Whether motion boundaries are drawn as well."""
    side: int = 128
    """S, of the pictures."""
    singles: bool = False
    """Whether every frame is written as a picture of its own as well."""

    def __post_init__(self) -> None:
        """Refuse a decision that would not be drawn.

        Raises:
            UsageError: the method is attention, or a tap is asked for as well.
        """
        if self.decision and (self.tap or self.method == "attention"):
            raise UsageError(
                "what a decision rests on is drawn by guided_backprop, and not of a tap",
                where="--decision",
                hint="give --method guided_backprop, and no --tap",
            )


class Explainer:
    """Makes maps of a network, with its heads if it has any."""

    def __init__(self, encoder: Encoder, heads: Heads | None = None) -> None:
        self.encoder = encoder
        self.heads = heads
        encoder.backbone.requires_grad_(False)

    def explain(self, clips: Tensor, settings: Settings) -> list[tuple[Tensor, str]]:
        """Return for each clip of a video a map (T, S, S), from 0 to 1, and its title.

        Args:
            clips: (V, 3, T, ., .)
            settings: What to draw.

        Raises:
            UsageError: The attention of a tap is asked for that is a vector, or a decision that the
                network does not make.
        """
        if settings.method == "attention":
            return [self._attention(clip, settings) for clip in clips.chunk(len(clips))]
        decision = settings.decision
        if decision is None and settings.tap is None and self.heads:
            decision = self.heads.customary
        if decision and self.heads:
            gradients = explain_decision(self.heads, clips, decision)
        else:
            gradients = [self._of_length(clip, settings) for clip in clips.chunk(len(clips))]
        size = (clips.shape[2], settings.side, settings.side)
        return [(saliency.spread(strength(each), size), said) for each, said in gradients]

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

    def _of_length(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return the gradient of the length of the representation.

        It is pooled as the run's recipe says if it is the recipe's tap, averaged over time and
        space if it is another.
        """
        evaluation = self.encoder.evaluation
        tap = settings.tap or evaluation.tap
        pool = evaluation.pool if tap == evaluation.tap else "gap"
        with torch.enable_grad():
            clip = clip.detach().clone().requires_grad_()
            length = pool_tap(self.encoder.project(self.encoder.backbone(clip))[tap], pool).norm()
            return saliency.guided_gradient(length, clip)[0], f"length of {tap}"


def strength(gradient: Tensor) -> Tensor:
    """Return how strongly pixels (T, H, W) count in a gradient (3, T, H, W), from 0 to 1."""
    return saliency.bounded(torch.from_numpy(saliency.without_median(gradient)).amax(0))


def open_explainers(
    run: Path, encoder: Encoder, checkpoint: str, videos: Sequence[Video], settings: Settings
) -> Mapping[str, Explainer]:
    """Return the explainers of ``run`` and ``random``, the same network with random weights.

    Args:
        run: Run directory or exported model.
        encoder: What was loaded from it.
        checkpoint: Of a run.
        videos: The random network takes its norms' statistics from clips of them.
        settings: What to draw; heads are loaded where it takes them.

    Raises:
        UsageError: A decision is asked for, and the model has no heads.
    """
    random = encoder.randomised()
    seen = videos[:CALIBRATION_CLIPS]
    random.calibrate(seen, [], clips=ceil(CALIBRATION_CLIPS / len(seen)))
    if settings.method == "attention":
        return {"run": Explainer(encoder), "random": Explainer(random)}
    trained, untrained = open_heads(
        run, encoder, random, checkpoint, pretext=bool(settings.decision)
    )
    return {"run": Explainer(encoder, trained), "random": Explainer(random, untrained)}
