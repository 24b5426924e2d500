"""How widely a network holds: several protocols on several data sets, in one table.

In the manner of SEVERE (Thoker, Doughty, Bagad, Snoek 2022, arXiv 2203.14221), which asks how far
what was learned carries over to other domains, fewer samples, finer actions and other tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load_options
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.reports import Table
from vidssl_cli.evaluation.evaluate import evaluate, folder_of, metrics_of

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.encoder import Encoder


@dataclass(frozen=True)
class Measure:
    """A protocol, and which question it answers."""

    question: str
    """``domain`` and ``actions``, ``samples`` or ``task``."""
    evaluator: str
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The protocol and what is set, such as ``few_labels shots=1``."""
        return " ".join([self.evaluator, *self.overrides])


MEASURES = (
    Measure("domain, actions", "linear"),
    Measure("domain, actions", "retrieval"),
    Measure("samples", "few_labels", ("shots=1",)),
    Measure("samples", "few_labels", ("shots=8",)),
    Measure("task", "before_after", ("pairs=4",)),
)
"""What each data set is measured by. Domain and actions are what the sets are: of sets with coarse
and fine classes, `linear` and `retrieval` tell the difference."""


@dataclass(frozen=True)
class NamedData:
    """A data set as it is on the command line."""

    name: str
    videos: Sequence[Video]
    left_out: Sequence[Video] = ()

    @property
    def classes(self) -> int:
        """How many labels its videos have."""
        return len({video.label for video in self.videos if video.label is not None})


@dataclass(frozen=True)
class Finding:
    """The leading metric of one measure on one data set."""

    question: str
    measure: str
    data: str
    classes: int
    metric: str
    run: float
    random: float
    chance: float | None


@dataclass(frozen=True)
class Unfit:
    """A measure that a data set is not fit for."""

    data: str
    measure: str
    why: str


@dataclass(frozen=True)
class Breadth:
    """What was found, and what could not be measured."""

    findings: Sequence[Finding]
    unfit: Sequence[Unfit]

    def as_document(self) -> dict[str, Any]:
        """Return it for JSON; docs/json.md."""
        return {
            "findings": [asdict(finding) for finding in self.findings],
            "unfit": [asdict(unfit) for unfit in self.unfit],
        }

    def tables(self) -> list[Table]:
        """Return the findings in percent, and what could not be measured.

        ``gain`` is how many points the run is above random weights.
        """
        columns = ["measure", "data", "classes", "metric", "run", "random", "chance", "gain"]
        rows = [
            [
                *(f.measure, f.data, f.classes, f.metric),
                *map(_percent, (f.run, f.random, f.chance, f.run - f.random)),
            ]
            for f in self.findings
        ]
        shown = Table("breadth, percent", columns, rows)
        if not self.unfit:
            return [shown]
        missing = [[each.data, each.measure, each.why] for each in self.unfit]
        return [shown, Table("not measured", ["data", "measure", "why"], missing)]


def measure(
    encoder: Encoder,
    sets: Sequence[NamedData],
    run: Path,
    checkpoint: str = "last",
    store: Path | None = None,
    split: int = 1,
) -> Breadth:
    """Measure a run on every data set; each report is kept by the run as `evaluate` does.

    Args:
        encoder: Of the run.
        sets: The data sets.
        run: Where reports are kept.
        checkpoint: Of the run.
        store: Folder in which features are kept for later.
        split: Which official split of the data.

    Raises:
        UsageError: No data set is fit for any measure.
        VidsslError: A video cannot be read.
    """
    findings: list[Finding] = []
    unfit: list[Unfit] = []
    for each in MEASURES:
        options = load_options(EvaluatorOptions, each.evaluator, each.overrides)
        for data in sets:
            say(f"{each.name} on {data.name}")
            folder = folder_of(run, options, data.videos, checkpoint)
            try:
                report = evaluate(
                    encoder,
                    data.videos,
                    options,
                    folder,
                    run,
                    checkpoint,
                    store=store,
                    split=split,
                    left_out=data.left_out,
                )
            except UsageError as error:
                warn(f"{each.name} is not measured on {data.name}: {error}")
                unfit.append(Unfit(data.name, each.name, str(error)))
                continue
            metric = metrics_of(report)[0]
            figures = {row["weights"]: row[metric] for row in report.rows}
            findings.append(
                Finding(
                    each.question,
                    each.name,
                    data.name,
                    data.classes,
                    metric,
                    figures["run"],
                    figures["random"],
                    report.chances.get(metric),
                )
            )
    if not findings:
        raise UsageError(
            "none of the data is fit for any measure",
            hint="the warnings above say why",
        )
    return Breadth(findings, unfit)


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 1)
