"""The run directory: what was asked for, how it went, and where its checkpoints are.

run.json         state, versions, seed, git, argv, digest of the data and which data set it is; the
                 SHA-256 of the next two, and its own
recipe.yaml      the resolved recipe; itself a valid recipe
model.json       what the network is
metrics.jsonl    one row per training step or evaluation, or per step that was not taken
bad_media.jsonl  videos that could not be read, with the reason
events.out.…     the rows of metrics.jsonl for TensorBoard, where it is installed
checkpoints/     last, best
.lock            held by the process that trains
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.console import warn
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.disk_space import room_for
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.run_directory import CHECKPOINTS, FACTS, read_rows

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from vidssl_cli.base.errors import MediaError

METRICS, BAD_MEDIA = "metrics.jsonl", "bad_media.jsonl"


class Run:
    """A run directory that this process writes to."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        """What run.json holds."""
        self._named = self.skipped
        self._events: SummaryWriter | None = None
        self._wants_events = find_spec("tensorboard") is not None
        self._first_step = 0

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / CHECKPOINTS

    @property
    def skipped(self) -> set[str]:
        """Paths of the videos that could not be read, by any process of any session."""
        return {row["path"] for row in read_rows(self.folder / BAD_MEDIA)}

    def record_state(self, state: str, **facts: Any) -> None:
        """Write run.json: running, finished, preempted, interrupted or failed, and other facts."""
        self.facts.pop("reason", None)  # that of an earlier session
        self.facts |= {"state": state, "updated": timestamp(), **facts}
        atomic_write(self.folder / FACTS, sealed_json.render(self.facts))

    def log(self, row: dict[str, Any]) -> None:
        """Add a row, with its ``step``, to metrics.jsonl and to TensorBoard's events."""
        self._append(METRICS, row)
        if self._events is None and self._wants_events:
            self._wants_events = False
            self._events = self._open_events()
        if self._events is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, row["step"])

    def skip(self, error: MediaError) -> None:
        """Add a video that cannot be read to bad_media.jsonl, once in each process."""
        path = error.where or ""
        if path in self._named:
            return
        self._named.add(path)
        self._append(BAD_MEDIA, error.row)

    def rewind(self, epoch: int, step: int) -> None:
        """Drop the rows of later epochs and steps than these, which will be trained again."""
        self._first_step = step + 1
        path = self.folder / METRICS
        with understood(path):
            kept = [
                json.dumps(row) + "\n"
                for row in read_rows(path)
                if (row["epoch"] < epoch if "epoch.loss" in row else row["step"] <= step)
            ]
        atomic_write(path, "".join(kept))

    def close(self) -> None:
        """Write TensorBoard's events to disk."""
        if self._events is not None:
            self._events.close()

    def _open_events(self) -> SummaryWriter | None:
        """Open TensorBoard's file; that fails where any installed package is damaged."""
        try:
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(str(self.folder), purge_step=self._first_step)
        except Exception as error:
            warn(f"TensorBoard cannot be used: {type(error).__name__}: {error}")
            return None

    def _append(self, name: str, row: dict[str, Any]) -> None:
        path, line = self.folder / name, json.dumps(row) + "\n"
        with room_for(path, len(line)), path.open("a", encoding="utf-8") as file:
            file.write(line)


def timestamp() -> str:
    """Return the time of day as run.json has it."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
