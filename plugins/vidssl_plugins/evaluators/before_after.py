"""The order of two parts of a video (Jenni, Meishvili and Favaro 2020, section 4, table 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.reports import Report
from vidssl_plugins.evaluators.shared.time_task import TimeTask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.study import Study
    from vidssl_plugins.evaluators.options.shared import Probe


class BeforeAfterEvaluator:
    """Classifies whether the earlier or the later half of a clip comes first."""

    def __init__(self, options: Probe, pairs: int) -> None:
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

        task = TimeTask(study, self.options, study.frames, 2, plan)
        rows = [
            {
                "weights": weights,
                "accuracy": float((task.answers(weights) == task.test.classes).mean()),
            }
            for weights in study.weights
        ]
        return Report(rows, 0.5, {"accuracy": 0.5}, task.facts)


def swapped_halves(
    count: int, frames: int, couples: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Draw two runs of frames that do not overlap, and join them in both orders.

    Args:
        count: Frames of the video.
        frames: T, of a clip.
        couples: How many to draw.
        random: Random numbers. The gap is uniform over what fits, and so is the start, given the
            gap.

    Returns:
        (2 x couples, T): of each couple the earlier run before the later one, then after it.
    """
    gap = random.integers(count - frames + 1, size=couples)
    start = random.integers(count - frames - gap + 1)
    run = np.arange(frames // 2)
    earlier, later = start[:, None] + run, (start + frames // 2 + gap)[:, None] + run
    both = np.stack([np.hstack([earlier, later]), np.hstack([later, earlier])], axis=1)
    return both.reshape(-1, frames)
