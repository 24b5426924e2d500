"""Options of `mlflow`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import LoggedRun, Logger, LoggerOptions


class MLflow(LoggerOptions):
    """MLflow; extra `mlflow`. Its environment variables count, such as MLFLOW_TRACKING_URI."""

    name: Literal["mlflow"]
    experiment: str | None = None
    """Where the run is listed; MLFLOW_EXPERIMENT_NAME, or else `vidssl`, if not given."""
    uri: str | None = None
    """The server, or where on disk runs are kept, such as `sqlite:///runs.db`."""

    def build(self, run: LoggedRun) -> Logger:
        """Begin a run there, or go on with it."""
        from vidssl_plugins.loggers.mlflow import MLflowLogger

        return MLflowLogger(run, self.experiment, self.uri)
