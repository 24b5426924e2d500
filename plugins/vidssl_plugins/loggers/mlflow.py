"""MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import LoggedRun, RunState

TAG = "vidssl.run"
"""The tag by which a run is found again."""
STATUS: Mapping[RunState, str] = {
    "finished": "FINISHED", "preempted": "KILLED", "interrupted": "KILLED", "failed": "FAILED"
}  # fmt: skip
METRICS, PARAMS, LENGTH = 1000, 100, 6000
"""How many metrics, or parameters, a server takes at once, and characters of a parameter."""


class MLflowLogger:
    """A run of an experiment, with the recipe as its parameters."""

    def __init__(self, run: LoggedRun, experiment: str | None, uri: str | None) -> None:
        # That a run is over it would otherwise print on standard output, where results go.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        self._client = MlflowClient(tracking_uri=uri)
        name = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "vidssl")
        found = self._client.get_experiment_by_name(name)
        place = found.experiment_id if found else self._client.create_experiment(name)
        runs = self._client.search_runs([place], f"tags.`{TAG}` = '{run.id}'")
        if runs:
            self._id = runs[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        title = run.folder.resolve().name
        begun = self._client.create_run(place, tags={TAG: run.id}, run_name=title)
        self._id = begun.info.run_id
        params = [Param(key, str(value)[:LENGTH]) for key, value in _flat(run.recipe)]
        for start in range(0, len(params), PARAMS):
            self._client.log_batch(self._id, params=params[start : start + PARAMS])

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Send the rows, as few requests as it takes."""
        now = int(1000 * time.time())
        metrics = [
            Metric(name, value, now, int(row["step"]))
            for row in rows
            for name, value in row.items()
            if name != "step"
        ]
        for start in range(0, len(metrics), METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + METRICS])

    def close(self, state: RunState) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._id, status=STATUS[state])


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a recipe with its dotted key."""
    pairs: Iterator[tuple[Any, Any]] = iter(())
    if isinstance(value, dict):
        pairs = iter(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        pairs = enumerate(value)
    else:
        yield path, value
    for key, inner in pairs:
        yield from _flat(inner, f"{path}.{key}" if path else str(key))
