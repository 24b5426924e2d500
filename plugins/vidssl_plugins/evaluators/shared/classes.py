"""The classes of a study's videos, and reports of how well they are classified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.metrics import class_accuracy, mean_class_accuracy
from vidssl_cli.contract.reports import Confusion, Report, Table
from vidssl_cli.contract.study import Study
from vidssl_cli.contract.videos import Video


@dataclass(frozen=True, eq=False)
class Classes:
    """The classes of labelled videos, by number."""

    names: tuple[str, ...]
    """K, those of the test videos included."""
    train: NDArray[np.int64]
    """(N,) of the training videos."""
    test: NDArray[np.int64]
    """(M,) of the test videos."""

    @classmethod
    def of(cls, study: Study, protocol: str, least: int = 2) -> Classes:
        """Number the classes of a study.

        Raises:
            UsageError: there are fewer than two classes to train, fewer than ``least`` training
                videos of one, or nothing to test.
        """
        train, test = ([str(v.label) for v in part] for part in (study.train, study.test))
        sizes = [train.count(name) for name in set(train)]
        if len(sizes) < 2 or min(sizes) < least or not test:
            raise UsageError(
                f"{protocol} found {len(test)} test videos, and {len(train)} training videos of "
                f"{len(sizes)} classes, {min(sizes, default=0)} of the smallest",
                hint="it needs test videos, and two classes or more with "
                f"{least} training videos each",
            )
        names = tuple(sorted({*train, *test}))
        return cls(names, number(study.train, names), number(study.test, names))

    @property
    def chance(self) -> float:
        """The accuracy of always naming the class with the most training videos."""
        return float((self.test == np.bincount(self.train).argmax()).mean())

    @property
    def facts(self) -> dict[str, Any]:
        """The counts that a report shows."""
        return {"train": len(self.train), "test": len(self.test), "classes": len(self.names)}


def number(videos: Sequence[Video], names: Sequence[str]) -> NDArray[np.int64]:
    """Return (N,), the place of each video's class among the names."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places[str(video.label)] for video in videos], dtype=np.int64)


def class_report(
    protocol: str,
    names: Sequence[str],
    counts: Mapping[str, NDArray[np.int64]],
    chance: float,
    facts: dict[str, Any],
    more: Mapping[str, Mapping[str, float]] | None = None,
) -> Report:
    """Report how well videos were classified.

    Args:
        protocol: For titles.
        names: K classes.
        counts: (K, K) `confusion` by weights.
        chance: Of ``accuracy``.
        facts: Settings of the protocol.
        more: Other metrics by weights; they replace those of the same name.

    Returns:
        ``accuracy`` and ``mean_class_accuracy``; a table of the classes, first that which
        gains most on random weights (Wang 2020, tables 2.6 and 2.7); and the confusions.
    """
    rows = [
        {"weights": weights, **accuracies(found), **(more or {}).get(weights, {})}
        for weights, found in counts.items()
    ]
    tested = next(iter(counts.values())).any(1).sum()
    chances = {"accuracy": chance, "mean_class_accuracy": float(1 / tested)}
    table = _each_class(names, counts)
    figures = [
        Confusion(f"{protocol}, {weights} weights", names, found.tolist())
        for weights, found in counts.items()
    ]
    return Report(rows, chance, chances, facts, [table], [*figures])


def accuracies(found: NDArray[np.int64]) -> dict[str, float]:
    """Return ``accuracy`` and ``mean_class_accuracy`` of a `confusion`."""
    accuracy = float(found.trace() / found.sum())
    return {"accuracy": accuracy, "mean_class_accuracy": mean_class_accuracy(found)}


def _each_class(names: Sequence[str], counts: Mapping[str, NDArray[np.int64]]) -> Table:
    recalls = {weights: class_accuracy(found) for weights, found in counts.items()}
    sizes = next(iter(counts.values())).sum(1)
    own, *others = recalls.values()
    gains = own - others[0] if others else own
    order = [k for k in np.argsort(-gains, kind="stable") if sizes[k]]
    rows = [
        [names[k], int(sizes[k]), *(round(100 * recall[k], 1) for recall in recalls.values())]
        for k in order
    ]
    return Table("accuracy of each class, percent", ["class", "tested", *recalls], rows)
