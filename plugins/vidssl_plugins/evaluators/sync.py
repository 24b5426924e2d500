"""Synchronisation of two clips (Jenni, Meishvili and Favaro 2020, section 4, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.contract.metrics import confusion
from vidssl_cli.contract.reports import Confusion, Report, Table
from vidssl_plugins.evaluators.shared.time_task import TimeTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.options.shared import Probe


class SyncEvaluator:
    """Classifies the delay of one clip against another by the difference of their features."""

    def __init__(self, options: Probe, reach: int, stride: int, pairs: int) -> None:
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
        needs = clip[-1] + 1 + self.reach * self.stride
        task = TimeTask(study, self.options, needs, classes, plan)
        rows: list[dict[str, Any]] = []
        errors: list[list[str | float]] = []
        figures: list[Any] = []
        for weights in study.weights:
            given = task.answers(weights, lambda clips: clips[::2] - clips[1::2])
            accuracy, error = sync_scores(task.test.classes, given)
            rows.append({"weights": weights, "accuracy": accuracy})
            errors.append([weights, round(error, 4)])
            figures.append(self._confusion(weights, task.test.classes, given))
        for guess, error in chance_errors(self.reach).items():
            errors.append([guess, round(error, 4)])
        table = Table("mean absolute error, in frames", ["weights", "error"], errors)
        chance = 1 / classes
        return Report(rows, chance, {"accuracy": chance}, task.facts, [table], figures)

    def _confusion(self, weights: str, true: NDArray[Any], given: NDArray[Any]) -> Confusion:
        counts = confusion(true, given, len(self.delays))
        names = [f"{delay:+d}" if delay else "0" for delay in self.delays]
        return Confusion(f"delay in frames, {weights} weights", names, counts.tolist())


def paired_starts(
    delays: NDArray[np.int64], starts: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw where two clips begin, the second so many frames after the first.

    Args:
        delays: (P,), each of less than ``starts`` either way.
        starts: Frames at which a clip may begin, from 0.
        random: Random numbers.

    Returns:
        (P, 2) first frames of both clips; every place that fits is equally likely.
    """
    first = random.integers(np.maximum(0, -delays), starts - np.maximum(0, delays))
    return np.stack([first, first + delays], axis=1)


def sync_scores(true: NDArray[np.int64], given: NDArray[np.int64]) -> tuple[float, float]:
    """Return the share of right delays and the mean absolute error in frames."""
    return float(np.mean(true == given)), float(np.abs(true - given).mean())


def chance_errors(reach: int) -> dict[str, float]:
    """Return the mean absolute errors of answers that ignore the clips, in frames."""
    delays = np.arange(-reach, reach + 1)
    return {
        "always 0": float(np.abs(delays).mean()),
        "random guesses": float(np.abs(delays[:, None] - delays).mean()),
    }
