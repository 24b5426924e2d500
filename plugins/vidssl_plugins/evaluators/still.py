"""Dynamics against single frames (Jenni, Meishvili and Favaro 2020, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.metrics import video_accuracy
from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import ClipSet, Layer, Study
from vidssl_plugins.evaluators.options.finetune_protocols import Place
from vidssl_plugins.evaluators.options.shared import Probe
from vidssl_plugins.evaluators.shared.classes import Classes
from vidssl_plugins.evaluators.shared.fc import classify_clips, train_fc
from vidssl_plugins.evaluators.shared.settings import settle

SHOWN = ("clips", "windows", "hop", "tap", "pool")
"""Settings that the report has."""


class StillEvaluator:
    """Trains the same layers on clips, and on clips in which nothing moves."""

    def __init__(self, options: Probe, clips: int | None, windows: Place, hop: int) -> None:
        self.options, self.clips, self.windows, self.hop = options, clips, windows, hop

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` on clips and ``still`` on still clips, for each set of weights.

        A video gets the class whose probability is highest on average over its clips. The gap
        between both is a table.

        Raises:
            UsageError: there are too few training videos or classes, or there is no such tap.
        """
        classes = Classes.of(study, "still", least=1)
        settings = settle(study, clips=self.clips, tap=self.options.tap, pool=self.options.pool)
        tested = settings.tested(self.windows, self.hop)
        moving = [settings.looks(study, study.train), tested.looks(study, study.test)]
        still = [
            [self._one_frame(study, look, n) for n, look in enumerate(moving[0])],
            [repeated(look, _middles(look)) for look in moving[1]],
        ]
        rows: list[dict[str, Any]] = []
        for weights in study.weights:
            row: dict[str, Any] = {"weights": weights}
            for metric, looks in (("accuracy", moving), ("still", still)):
                clips = self._classify(study, weights, settings.reading, looks, classes)
                row[metric] = video_accuracy(clips, classes.test)
            rows.append(row)
        gaps = [[r["weights"], round(100 * (r["accuracy"] - r["still"]), 1)] for r in rows]
        table = Table("what motion adds, in points", ["weights", "accuracy - still"], gaps)
        facts = classes.facts | {
            **{key: value for key, value in tested.facts.items() if key in SHOWN},
            "still clips": "are all zeros to a network that sees differences of frames"
            if study.residual
            else "repeat one frame",
        }
        chances = {"accuracy": classes.chance, "still": classes.chance}
        return Report(rows, classes.chance, chances, facts, [table])

    def _one_frame(self, study: Study, look: ClipSet, number: int) -> ClipSet:
        """Repeat frames from anywhere in the video, one for each clip."""
        random = Draw(self.options.seed, 0, number)("still frames")
        return repeated(look, random.integers(study.count(look.video), size=len(look.frames)))

    def _classify(
        self,
        study: Study,
        weights: str,
        reading: Layer,
        looks: Sequence[Sequence[ClipSet]],
        classes: Classes,
    ) -> list[NDArray[np.float32]]:
        """Return (clips, K) probabilities of every test video."""
        train, test = (study.features(weights, part, [reading])[0] for part in looks)
        kinds = len(classes.names)
        learn = partial(train_fc, fc=self.options.fc, classes=kinds, device=study.device)
        return classify_clips(train, classes.train, test, learn)


def repeated(look: ClipSet, frames: NDArray[np.int64]) -> ClipSet:
    """Return clips of the same number and length each of which repeats one frame, (clips,)."""
    still = frames.reshape(-1, *(1,) * (look.frames.ndim - 1))
    return ClipSet(look.video, np.broadcast_to(still, look.frames.shape).copy())


def _middles(look: ClipSet) -> NDArray[np.int64]:
    """Return (clips,) the frame in the middle of each clip."""
    frames: NDArray[np.int64] = look.frames.reshape(len(look.frames), -1, look.frames.shape[-1])
    return frames[:, -1, frames.shape[-1] // 2]
