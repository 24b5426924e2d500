"""TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from torch.utils.tensorboard import SummaryWriter

if TYPE_CHECKING:
    from vidssl_cli.contract.hooks import LoggedRun, RunState


class TensorBoardLogger:
    """Writes a file of events, which takes back what earlier ones say of the same steps."""

    def __init__(self, run: LoggedRun) -> None:
        self._writer = SummaryWriter(str(run.folder), purge_step=run.first_step)

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write a scalar for each number."""
        for row in rows:
            for name, value in row.items():
                self._writer.add_scalar(name, value, row["step"])

    def close(self, state: RunState) -> None:
        """Write what is left to disk."""
        self._writer.close()
