"""Reads the reports that runs keep of their evaluations; no plugin is needed for that."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.contract.reports import Confusion, Curves, Neighbours, PublishedRow, Table
from vidssl_cli.files import sealed_json
from vidssl_cli.model import run_directory

AGAIN = "delete it, and evaluate again"
"""What to do about a damaged report."""

_FIGURES: Mapping[str, TypeAdapter[Any]] = {
    kind.__name__.lower(): TypeAdapter(kind) for kind in (Curves, Confusion, Neighbours)
}


def _figures(found: Any) -> Any:
    """Return figures as their types; kinds that only another version has are left out."""
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
    """Digest of the videos."""
    run: str | None = None
    """Which run it is of: `run_directory.identity`."""
    checkpoint: str = "last"
    """Of the run: ``last`` or ``best``."""
    trained: str | None = None
    """How far that checkpoint was trained."""
    argv: list[str] = []
    """The command line."""

    @property
    def data_name(self) -> str:
        """Name of the data on the command line, or else the beginning of their digest."""
        if "--data" in self.argv[:-1]:
            return Path(self.argv[self.argv.index("--data") + 1]).name
        return self.data[:8]

    @property
    def metrics(self) -> list[str]:
        """Names of what was measured, the leading one first."""
        return [name for name in self.rows[0] if name != "weights"]

    def figure(self, weights: str, metric: str) -> float | None:
        """Return a metric of a set of weights; None if it is not a finite number."""
        for row in self.rows:
            if row["weights"] == weights:
                return _finite(row.get(metric))
        return None

    def chance(self, metric: str) -> float | None:
        """Return the chance level of a metric."""
        return _finite(self.chances.get(metric))


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
        return Evaluation.model_validate(sealed_json.read(path, AGAIN))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise DamagedFileError(
            f"is not a report of `vidssl evaluate`: {key + ': ' if key else ''}{first['msg']}",
            where=str(path),
            hint=AGAIN,
        ) from None


def _finite(value: object) -> float | None:
    return value if isinstance(value, float) and isfinite(value) else None
