"""Fine-tuning over official splits, tested as the papers test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.metrics import Predictions, mean_class_accuracy
from vidssl_cli.contract.reports import Report, Table
from vidssl_cli.contract.study import Classified, Study
from vidssl_plugins.evaluators.options.finetune_protocols import Protocol
from vidssl_plugins.evaluators.shared.classes import Classes, class_report


class FinetuneEvaluator:
    """Fine-tunes the run's weights and random ones on each split.

    Args:
        protocol: By which recipe it is trained, and how test videos are seen.
        overrides: What is different from the recipe, ``key=value``.
        splits: Official splits; empty for the study's own.
    """

    def __init__(self, protocol: Protocol, overrides: Sequence[str], splits: Sequence[int]) -> None:
        self.protocol, self.overrides, self.numbers = protocol, overrides, sorted(set(splits))

    def __call__(self, study: Study) -> Report:
        """Report the mean over the splits, and each split with the deviation in a table.

        The accuracy of each class and the confusions count the videos, or clips, of all splits.

        Raises:
            UsageError: labels or splits are missing, or there are too few training videos.
        """
        splits = self._splits(study)
        classes = [Classes.of(part, "finetune", 1) for part in splits.values()]
        names = sorted({name for each in classes for name in each.names})
        protocol, recipe = self.protocol, self.protocol.recipe_for(study.backbone)
        strides = study.strides(recipe, self.overrides, protocol.stride)
        windows = Windows(
            protocol.windows,
            protocol.clips or study.evaluation.clips,
            protocol.hop,
            strides.tested,
        )
        counts, measured, left_out = {}, {}, 0
        for weights in study.weights:
            answers = [
                part.finetune(weights, recipe, self.overrides, windows, protocol.crops)
                for part in splits.values()
            ]
            scored = [
                _score(each, [str(video.label) for video in part.test], names, protocol.level)
                for each, part in zip(answers, splits.values(), strict=True)
            ]
            counts[weights] = np.sum([found for found, _ in scored], 0)
            measured[weights] = [accuracies for _, accuracies in scored]
            left_out = sum(each.left_out for each in answers)
        means = {
            weights: {name: float(np.mean([m[name] for m in found])) for name in found[0]}
            for weights, found in measured.items()
        }
        chance = float(np.mean([each.chance for each in classes]))
        facts = {"recipe": recipe, **self._facts(classes, windows)}
        if strides.differ:
            facts["trained_stride"] = strides.trained
        if left_out:
            facts["left_out"] = left_out
        report = class_report("finetune", names, counts, chance, facts, means)
        report.chances |= {"clip_accuracy": chance, "video_accuracy": chance}
        if len(splits) > 1:
            report.tables.insert(0, _spread(list(splits), measured))
        return report

    def _splits(self, study: Study) -> dict[int, Study]:
        """Open the splits, and check that they differ."""
        if not self.numbers:
            return {0: study}
        splits = {number: study.of_split(number) for number in self.numbers}
        tests: dict[frozenset[str], int] = {}
        for number, part in splits.items():
            paths = frozenset(video.path for video in part.test)
            if paths in tests:
                raise UsageError(
                    f"splits {tests[paths]} and {number} have the same test videos",
                    hint="data with one split are measured without `splits`",
                )
            tests[paths] = number
        return splits

    def _facts(self, classes: Sequence[Classes], windows: Windows) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if self.overrides:
            facts["set"] = list(self.overrides)
        if self.numbers:
            facts["splits"] = self.numbers
        where = {"windows": windows.place, "clips": windows.clips, "stride": windows.stride}
        if windows.place == "overlap":
            where["hop"] = windows.hop
            del where["clips"]
        seen = {"crops": self.protocol.crops, "level": self.protocol.level}
        return facts | classes[0].facts | where | seen


def _score(
    classified: Classified,
    labels: Sequence[str],
    names: Sequence[str],
    level: Literal["clip", "video"],
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """Return the confusion among all names, and accuracies."""
    places = {name: place for place, name in enumerate(names)}
    truth = np.array([places[label] for label in labels], dtype=np.int64)
    own = np.array([places[name] for name in classified.classes], dtype=np.int64)
    answers = [_placed(clips, own, len(names)) for clips in classified.probabilities]
    predictions = Predictions(answers, truth, len(names))
    counts, accuracies = predictions.confusion(level), predictions.accuracies()
    return counts, {
        "accuracy": accuracies[f"{level}_accuracy"],
        "mean_class_accuracy": mean_class_accuracy(counts),
        **accuracies,
    }


def _placed(
    probabilities: NDArray[np.float32], own: NDArray[np.int64], classes: int
) -> NDArray[np.float32]:
    """Widen (clips, k) of some classes to (clips, K) of all."""
    wide = np.zeros((len(probabilities), classes), dtype=np.float32)
    wide[:, own] = probabilities
    return wide


def _spread(splits: Sequence[int], measured: Mapping[str, Sequence[Mapping[str, float]]]) -> Table:
    rows: list[list[str | float | int | None]] = []
    for weights, found in measured.items():
        for metric in ("clip_accuracy", "video_accuracy"):
            values = [100 * accuracies[metric] for accuracies in found]
            deviation = round(float(np.std(values, ddof=1)), 1)
            shown = [round(value, 1) for value in values]
            rows.append([weights, metric, *shown, round(float(np.mean(values)), 1), deviation])
    columns = ["weights", "metric", *(f"split {n}" for n in splits), "mean", "deviation"]
    return Table("accuracy of each split, percent", columns, rows)
