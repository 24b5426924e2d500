"""Options of `wandb`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import LoggedRun, Logger, LoggerOptions


class WandB(LoggerOptions):
    """Weights & Biases; extra `wandb`. Its environment variables count, such as WANDB_MODE."""

    name: Literal["wandb"]
    project: str | None = None
    """Where the run is listed; WANDB_PROJECT, or else `vidssl`, if not given."""
    entity: str | None = None
    """The user or team that owns the project."""
    mode: Literal["online", "offline"] | None = None
    """Offline runs stay in the run directory, for `wandb sync`."""

    def build(self, run: LoggedRun) -> Logger:
        """Begin a run there, or go on with it."""
        from vidssl_plugins.loggers.wandb import WandBLogger

        return WandBLogger(run, self.project, self.entity, self.mode)
