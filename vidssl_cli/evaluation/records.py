"""What runs left behind: how they stand, what they logged, and what was measured of them.

Nothing here needs the plugins that a run was made with.
"""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.config import yaml_source
from vidssl_cli.contract.reports import Confusion, Curves, Neighbours, PublishedRow, Table
from vidssl_cli.files import sealed_folder, sealed_json
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.model import run_directory

_FIGURES: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__.lower(): TypeAdapter(kind) for kind in (Curves, Confusion, Neighbours)
}


def _figures(found: Any) -> Any:
    """Turn figures into what they were, but for kinds that only another version knows."""
    if not isinstance(found, list) or not all(isinstance(figure, dict) for figure in found):
        raise ValueError("should be a list of mappings")
    return [
        _FIGURES[figure["kind"]].validate_python(figure)
        for figure in found
        if figure.get("kind") in _FIGURES
    ]


def _row(found: Any) -> Any:
    if not isinstance(found, dict) or not isinstance(found.get("weights"), str):
        raise ValueError("should be a mapping with weights and metrics")
    return found


def _finite(value: object) -> float | None:
    return value if isinstance(value, float) and isfinite(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 63)


class Evaluation(BaseModel):
    """What one protocol found about a run: its report.json, docs/json.md."""

    evaluator: str
    options: dict[str, Any]
    rows: Annotated[
        list[Annotated[dict[str, str | float | None], BeforeValidator(_row)]], Field(min_length=1)
    ]
    chances: dict[str, float] = {}
    facts: dict[str, Any] = {}
    tables: list[Table] = []
    figures: Annotated[list[Any], BeforeValidator(_figures)] = []
    published: list[PublishedRow] = []
    """The closest first."""
    data: str = ""
    """Digest of the videos that it was measured on."""
    run: str | None = None
    """Which run it is of: `runs.identity`."""
    checkpoint: str = "last"
    """Of the run: ``last`` or ``best``."""
    trained: str | None = None
    """How far that one was trained."""
    argv: list[str] = []
    """The command line."""

    @property
    def data_name(self) -> str:
        """What the videos are called on the command line, or else by their digest."""
        if "--data" in self.argv[:-1]:
            return Path(self.argv[self.argv.index("--data") + 1]).name
        return self.data[:8]

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured, the leading one first."""
        return [name for name in self.rows[0] if name != "weights"]

    def figure(self, weights: str, metric: str) -> float | None:
        """Return what was measured of a set of weights."""
        for row in self.rows:
            if row["weights"] == weights:
                return _finite(row.get(metric))
        return None

    def chance(self, metric: str) -> float | None:
        """Return what a guesser would reach."""
        return _finite(self.chances.get(metric))


@dataclass(frozen=True)
class Record:
    """A run directory, read; or an exported model, which nothing is known of but its network."""

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
        path = run_directory.intact(folder, run_directory.RECIPE)
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
        """Epochs that the whole run has."""
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
                return _finite(float(found[-1]))
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
        """Read what was measured, by name.

        Args:
            damaged: Hears of reports that are left out.

        Raises:
            DamagedFileError: A report is damaged, or is something else, and nobody hears of it.
        """
        found, own = [], run_directory.identity(self.folder)
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
        """Read what `vidssl finetune` measured at its end."""
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
        """Tell whether the run has been trained on since."""
        return evaluation.trained not in (
            None,
            run_directory.trained(self.folder, evaluation.checkpoint),
        )


_HINT = "restore it from a copy, or leave this run out"
_AGAIN = "delete it, and evaluate again"


def _of(run: str, evaluation: Evaluation, path: Path) -> Evaluation:
    """Return a report, unless it is of another run than that which `runs.identity` names."""
    if evaluation.run not in (None, run):
        raise DamagedFileError(
            f"is of another run, whose recipe has the SHA-256 {evaluation.run}, not {run}",
            where=str(path),
            hint=_AGAIN,
        )
    return evaluation


def evaluation_files(run: Path) -> list[Path]:
    """Return the reports of a run, in the order in which they were made."""
    return sorted(
        run.glob(f"evaluations/*/{run_directory.REPORT}"),
        key=lambda path: (path.stat().st_mtime_ns, path),
    )


def read_evaluation(path: Path) -> Evaluation:
    """Read a report.

    Raises:
        DamagedFileError: It is damaged, or is something else.
    """
    try:
        return Evaluation.model_validate(sealed_json.read(path, _AGAIN))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise DamagedFileError(
            f"is not a report of `vidssl evaluate`: {key + ': ' if key else ''}{first['msg']}",
            where=str(path),
            hint=_AGAIN,
        ) from None


def _is_model(files: Collection[str]) -> bool:
    return run_directory.CARD in files and run_directory.FACTS not in files


def find_runs(places: Iterable[Path], *, models: bool = False) -> Iterator[Path]:
    """Yield the run directories at or below each of the folders, in the order of their names.

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
