"""Options of `tensorboard`."""

from __future__ import annotations

from typing import Literal

from vidssl_cli.contract.hooks import LoggedRun, Logger, LoggerOptions


class TensorBoard(LoggerOptions):
    """Event files in the run directory, for TensorBoard; extra `tensorboard`."""

    name: Literal["tensorboard"]

    def build(self, run: LoggedRun) -> Logger:
        """Open a file of events."""
        from vidssl_plugins.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(run)
