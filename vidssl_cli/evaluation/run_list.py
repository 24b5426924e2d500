"""`vidssl runs`: lists runs with their state, and the best figure of each protocol."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import wrap
from typing import Any

from vidssl_cli.base.console import leave_out
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.evaluation.records import Record, find_runs
from vidssl_cli.evaluation.stored_reports import Evaluation

WIDTH = 80
"""Columns of a terminal."""


@dataclass(frozen=True)
class Best:
    """The best report of a run by one protocol, by its leading metric."""

    metric: str
    value: float
    """From 0 to 1."""
    random: float | None
    """The same with random weights."""
    chance: float | None


@dataclass(frozen=True)
class Standing:
    """State of a run, and its best figures."""

    record: Record
    best: dict[str, Best]
    """By evaluator."""
    updated: datetime | None

    def as_document(self) -> dict[str, Any]:
        """Return it for JSON."""
        record = self.record
        return {
            "run": str(record.folder),
            "task": record.recipe.get("task"),
            "summary": record.recipe.get("summary", ""),
            "method": record.method,
            "seed": record.seed,
            "state": record.state,
            "reason": record.facts.get("reason"),
            "epoch": record.epoch,
            "epochs": record.epochs,
            "step": record.step,
            "loss": record.loss,
            "updated": self.updated and self.updated.isoformat(),
            "best": {name: asdict(best) for name, best in self.best.items()},
        }


def lines(found: Sequence[Standing], now: datetime) -> list[str]:
    """Return lines for a terminal, two for each run; names are relative to their common folder."""
    folders = [standing.record.folder.absolute() for standing in found]
    root = Path(os.path.commonpath([folder.parent for folder in folders]))
    names = [str(folder.relative_to(root)) for folder in folders]
    width = min(max(map(len, names)), WIDTH - 40)
    told = [str(root), f"{'':{width}}  {'state':11}  {'epochs':>7}  {'loss':>8}  {'age':>6}"]
    for name, standing in zip(names, found, strict=True):
        record = standing.record
        loss = "–" if record.loss is None else f"{record.loss:.3f}"
        passed = "–" if standing.updated is None else age(now - standing.updated)
        epochs = f"{record.epoch}/{record.epochs or '?'}"
        if len(name) > width:
            told.append(name)
            name = ""
        told.append(f"{name:{width}}  {record.state:11}  {epochs:>7}  {loss:>8}  {passed:>6}")
        best = [f"{each} {100 * it.value:.1f}" for each, it in standing.best.items()]
        words = " · ".join([record.method, *best])
        told += wrap(words, WIDTH, initial_indent="    ", subsequent_indent="      ")
    return told


def standings(places: Iterable[Path]) -> list[Standing]:
    """Find and read runs; what is damaged is named in a warning and left out.

    Raises:
        UsageError: A place is no folder.
    """
    found = []
    for place in places:
        if not place.is_dir():
            raise UsageError(f"{place} is not a folder", where=str(place))
        for folder in find_runs([place]):
            try:
                record = Record.read(folder)
            except DamagedFileError as error:
                leave_out(error)
                continue
            best = _best(record.evaluations(leave_out))
            found.append(Standing(record, best, _updated(record)))
    return found


def sort(found: Sequence[Standing], key: str) -> list[Standing]:
    """Sort by ``run``, ``state``, ``epoch``, ``loss``, ``age``, or the best of an evaluator.

    Small values come first, but for evaluators; runs without a value come last.

    Raises:
        UsageError: There is nothing of that name.
    """

    def value(standing: Standing) -> Any:
        record = standing.record
        match key:
            case "run":
                return str(record.folder)
            case "state":
                return record.state
            case "epoch":
                return record.epoch
            case "loss":
                return record.loss
            case "age":
                return standing.updated and -standing.updated.timestamp()
        return -standing.best[key].value if key in standing.best else None

    evaluators = sorted({name for standing in found for name in standing.best})
    known = ["run", "state", "epoch", "loss", "age", *evaluators]
    if key not in known:
        raise UsageError(f"--sort {key}: found no such figure", hint=f"there is {', '.join(known)}")
    there = [standing for standing in found if value(standing) is not None]
    absent = [standing for standing in found if value(standing) is None]
    return [*sorted(there, key=value), *absent]


def age(passed: timedelta) -> str:
    """Return a time in its largest unit."""
    seconds = max(0, passed.total_seconds())
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _best(evaluations: Iterable[Evaluation]) -> dict[str, Best]:
    best: dict[str, Best] = {}
    for each in (each for each in evaluations if each.metrics):
        metric = each.metrics[0]
        value = each.figure("run", metric)
        found = best.get(each.evaluator)
        if value is not None and (found is None or found.value < value):
            best[each.evaluator] = Best(
                metric, value, each.figure("random", metric), each.chance(metric)
            )
    return best


def _updated(record: Record) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(record.facts.get("updated")))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
