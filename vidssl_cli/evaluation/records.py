"""Finds and reads run directories: their state, what they logged, their reports.

No plugin is needed for that.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.config import yaml_source
from vidssl_cli.evaluation.stored_reports import (
    AGAIN,
    Evaluation,
    evaluation_files,
    read_evaluation,
)
from vidssl_cli.files import sealed_folder, sealed_json
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.model import run_directory


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)


@dataclass(frozen=True)
class Record:
    """The content of a run directory; or of an exported model, which has only a network."""

    folder: Path
    facts: Mapping[str, Any]
    """run.json."""
    state: str
    """``running``, ``stopped`` (its process is gone), ``finished``, ``preempted``,
    ``interrupted``, ``failed``, or ``model``."""
    source: Path
    """File that holds the recipe."""
    recipe: Mapping[str, Any]
    """Every key, as plain values."""
    rows: list[dict[str, Any]]
    """metrics.jsonl."""

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Read a run directory.

        Raises:
            UsageError: The folder is not one.
            DamagedFileError: A file of it cannot be understood.
        """
        if _is_model(os.listdir(folder)):
            return cls._of_model(folder)
        facts = run_directory.read_facts(folder)
        path = run_directory.verify_file(folder, run_directory.RECIPE)
        data = yaml_source.read(path).data
        if not isinstance(data, dict) or not isinstance(data.get("train"), dict):
            raise DamagedFileError("is not what vidssl writes", where=str(path), hint=_HINT)
        rows = run_directory.read_rows(folder / "metrics.jsonl")
        steps = [row for row in rows if isinstance(row, dict) and "step" in row]
        for row in steps:
            texts = {"not_finite", "videos"} if "not_finite" in row else set()
            bad = next((key for key in row if key not in texts and not _is_number(row[key])), None)
            if bad is not None:
                raise DamagedFileError(
                    f"{bad} is not a number in the row of step {reprlib.repr(row['step'])}",
                    where=str(folder / "metrics.jsonl"),
                    hint=_HINT,
                )
        return cls(folder, facts, run_directory.state_of(folder, facts), path, data, steps)

    @classmethod
    def _of_model(cls, folder: Path) -> Record:
        path = sealed_folder.intact(folder, run_directory.CARD)
        with understood(path):
            card = read_json(path)
            recipe = {key: card[key] for key in ("backbone", "input", "evaluation")}
        recipe |= {"task": "model", "summary": card.get("origin", ""), "train": {}}
        return cls(folder, {"seed": card.get("seed")}, "model", path, recipe, [])

    @property
    def seed(self) -> int | None:
        """Seed of the training."""
        return self.facts.get("seed")

    @property
    def epochs(self) -> int | None:
        """Epochs of the whole run."""
        epochs: int | None = self.recipe["train"].get("epochs")
        return epochs

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return sum("epoch.loss" in row for row in self.rows)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def loss(self) -> float | None:
        """The last mean loss of an epoch, or of a step where no epoch is done."""
        for name in ("epoch.loss", "loss"):
            found = [row[name] for row in self.rows if name in row]
            if found:
                return float(found[-1]) if isfinite(found[-1]) else None
        return None

    @property
    def method(self) -> str:
        """The pretext tasks with their weights, or the task where there are none."""
        found = self.recipe.get("pretext") or []
        names = []
        for pretext in found if isinstance(found, list) else [found]:
            weight = pretext.get("weight", 1)
            names.append(f"{weight:g} {pretext['name']}" if weight != 1 else pretext["name"])
        return " + ".join(names) or str(self.recipe.get("task"))

    def evaluations(
        self, damaged: Callable[[DamagedFileError], None] | None = None
    ) -> list[Evaluation]:
        """Read the reports of the run, by name.

        Args:
            damaged: Called with the error of each report that is left out.

        Raises:
            DamagedFileError: A report is damaged, or is something else, and there is no
                ``damaged``.
        """
        found, own = [], run_directory.identify(self.folder)
        for path in (self.folder / run_directory.REPORT, *evaluation_files(self.folder)):
            read = self._tuned if path.parent == self.folder else read_evaluation
            try:
                found += [_of(own, read(path), path)] if path.is_file() else []
            except DamagedFileError as error:
                if damaged is None:
                    raise
                damaged(error)
        return found

    def _tuned(self, path: Path) -> Evaluation:
        """Read the report of `vidssl finetune`."""
        try:
            found = sealed_json.read(path, _HINT)
            last = next(row for row in found["rows"] if row["checkpoint"] == "last")
            metrics = ("clip_accuracy", "video_accuracy")
            return Evaluation(
                evaluator="finetune",
                options={},
                rows=[{"weights": "run"} | {name: last[name] for name in metrics}],
                chances=dict.fromkeys(metrics, found["chance"]),
                published=[row for row in found.get("published", []) if "differs" in row],
                data=str(self.facts.get("data", "")),
                run=found.get("run"),
            )
        except (ValueError, LookupError, TypeError, StopIteration) as error:
            raise DamagedFileError(
                f"is not a report of `vidssl finetune`: {error}", where=str(path), hint=_HINT
            ) from None

    def is_stale(self, evaluation: Evaluation) -> bool:
        """Tell whether the run was trained further after it."""
        return evaluation.trained not in (
            None,
            run_directory.checkpoint_name(self.folder, evaluation.checkpoint),
        )


_HINT = "restore it from a copy, or leave this run out"


def _of(run: str, evaluation: Evaluation, path: Path) -> Evaluation:
    """Return a report, unless it is of another run than `run_directory.identity` says."""
    if evaluation.run not in (None, run):
        raise DamagedFileError(
            f"is of another run, whose recipe has the SHA-256 {evaluation.run}, not {run}",
            where=str(path),
            hint=AGAIN,
        )
    return evaluation


def _is_model(files: Collection[str]) -> bool:
    return run_directory.CARD in files and run_directory.FACTS not in files


def find_runs(places: Iterable[Path], *, models: bool = False) -> Iterator[Path]:
    """Yield the run directories in each of the folders, or the folder itself, sorted by name.

    Args:
        places: The folders.
        models: Whether to yield exported models as well.
    """
    for place in places:
        for folder, below, files in os.walk(place):
            below.sort()
            is_model = models and _is_model(files)
            if is_model or (
                run_directory.FACTS in files
                and {run_directory.CARD, run_directory.RECIPE} & set(files)
            ):
                below.clear()
                yield Path(folder)


def as_json(value: Any) -> str:
    """Return a plain value as text that does not depend on the order of keys."""
    return json.dumps(value, sort_keys=True)
