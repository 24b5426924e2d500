"""Synchronisation of two clips (Jenni, Meishvili and Favaro 2020, section 4, table 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.reports import Confusion, Report, Table
from vidssl_cli.contract.study import Study
from vidssl_plugins.evaluators.options.shared import TimeProbe
from vidssl_plugins.evaluators.shared.learned_task import LearnedTask
from vidssl_plugins.evaluators.shared.time_task import TimeTask, accuracy
from vidssl_plugins.samplers.sync import paired_starts

RECIPE = "papers/temporal-transforms-sync"
"""By which all layers learn the task."""


class SyncEvaluator:
    """Classifies the delay of one clip against another by the difference of their features."""

    def __init__(self, options: TimeProbe, reach: int, stride: int, pairs: int) -> None:
        self.options, self.reach, self.stride, self.pairs = options, reach, stride, pairs
        self.delays = np.arange(-reach, reach + 1)

    def __call__(self, study: Study) -> Report:
        """Report ``accuracy`` for each set of weights; the mean error in frames is a table.

        Raises:
            UsageError: no video of a split is long enough, or there is no such tap.
        """
        clip = self.stride * np.arange(study.frames)

        def plan(count: int, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
            delays = random.choice(self.delays, self.pairs)
            starts = paired_starts(delays * self.stride, count - clip[-1], random)
            return starts.reshape(-1, 1) + clip, delays + self.reach

        classes = len(self.delays)
        needs = int(clip[-1]) + 1 + self.reach * self.stride
        task: LearnedTask | TimeTask
        if self.options.freeze:
            task = TimeTask(study, self.options, needs, classes, plan, _difference)
        else:
            drawn = {"reach": self.reach, "stride": self.stride}
            task = LearnedTask(study, self.options, needs, RECIPE, self.pairs, drawn)
        rows: list[dict[str, Any]] = []
        errors: list[list[str | float]] = []
        figures: list[Any] = []
        for weights in study.weights:
            counts = task.counts(weights)
            rows.append({"weights": weights, "accuracy": accuracy(counts)})
            errors.append([weights, round(mean_error(counts), 4)])
            figures.append(self._confusion(weights, counts))
        for guess, error in chance_errors(self.reach).items():
            errors.append([guess, round(error, 4)])
        table = Table("mean absolute error, in frames", ["weights", "error"], errors)
        chance = 1 / classes
        return Report(rows, chance, {"accuracy": chance}, task.facts, [table], figures)

    def _confusion(self, weights: str, counts: NDArray[np.int64]) -> Confusion:
        names = [f"{delay:+d}" if delay else "0" for delay in self.delays]
        return Confusion(f"delay in frames, {weights} weights", names, counts.tolist())


def _difference(clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (pairs, D) for (clips, D): the first of each pair less the second."""
    return clips[::2] - clips[1::2]


def mean_error(counts: NDArray[np.int64]) -> float:
    """Return the mean absolute error in classes of a `confusion`, (K, K)."""
    true, given = np.indices(counts.shape)
    return float((np.abs(true - given) * counts).sum() / counts.sum())


def chance_errors(reach: int) -> dict[str, float]:
    """Return the mean absolute errors of answers that ignore the clips, in frames."""
    delays = np.arange(-reach, reach + 1)
    return {
        "always 0": float(np.abs(delays).mean()),
        "random guesses": float(np.abs(delays[:, None] - delays).mean()),
    }
