"""The order of two parts of a video (Jenni, Meishvili and Favaro 2020, section 4, table 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.reports import Report
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import TimeProbe
from vidssl_plugins.evaluators.shared.learned_task import LearnedTask
from vidssl_plugins.evaluators.shared.time_task import TimeTask, accuracy
from vidssl_plugins.samplers.before_after import swapped_halves

RECIPE = "papers/temporal-transforms-before-after"
"""By which all layers learn the task."""


class BeforeAfterEvaluator:
    """Classifies whether the earlier or the later half of a clip comes first."""

    def __init__(self, options: TimeProbe, pairs: int) -> None:
        self.options, self.pairs = options, pairs

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights.

        Raises:
            UsageError: clips cannot be halved, no video of a split is long enough, or there is no
                such tap.
        """
        if study.frames % 2:
            raise UsageError(f"clips of {study.frames} frames have no halves")

        def plan(count: int, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
            clips = swapped_halves(count, study.frames, self.pairs, random)
            return clips, np.tile([0, 1], self.pairs)

        task: LearnedTask | TimeTask
        if self.options.freeze:
            task = TimeTask(study, self.options, study.frames, 2, plan)
        else:
            task = LearnedTask(study, self.options, study.frames, RECIPE, self.pairs, {})
        counts = {weights: task.counts(weights) for weights in study.weights}
        rows = [
            {"weights": weights, "accuracy": accuracy(found)} for weights, found in counts.items()
        ]
        return Report(rows, 0.5, {"accuracy": 0.5}, task.facts)
