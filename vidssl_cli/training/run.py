"""The run directory: what was asked for, how it went, and where its checkpoints are.

run.json         state, versions, seed, git, argv, digest of the data and which data set it is; the
                 SHA-256 of the next two, and its own
recipe.yaml      the resolved recipe; itself a valid recipe
model.json       what the network is
metrics.jsonl    one row per training step or evaluation, or per step that was not taken
bad_media.jsonl  videos that could not be read, with the reason
events.out.…     the rows of metrics.jsonl for TensorBoard, where it is installed
loggers/         files of other loggers
checkpoints/     last, best
.lock            held by the process that trains
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.contract.hooks import LoggedRun
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.disk_space import room_for
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.run_directory import CHECKPOINTS, FACTS, read_rows
from vidssl_cli.training.loggers import PATIENCE, LoggerThread

if TYPE_CHECKING:
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.contract.hooks import LoggerOptions

METRICS, BAD_MEDIA, LOGGERS = "metrics.jsonl", "bad_media.jsonl", "loggers"


class Run:
    """A run directory that this process writes to."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        """What run.json holds."""
        self._named = self.skipped
        self._loggers: Sequence[LoggerOptions] = ()
        self._recipe: Mapping[str, Any] = {}
        self._threads: list[LoggerThread] | None = None
        """Of the loggers, once there is a row."""
        self._first_step = 1

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

    def log_to(self, loggers: Sequence[LoggerOptions], recipe: Mapping[str, Any]) -> None:
        """Send rows to loggers too, from the first one on, which are told the whole recipe."""
        self._loggers, self._recipe = loggers, recipe

    def log(self, row: dict[str, Any]) -> None:
        """Add a row, with its ``step``, to metrics.jsonl, and send it to the loggers."""
        self._append(METRICS, row)
        if self._threads is None:
            self._threads = self._open_loggers()
        for thread in self._threads:
            thread.send(row)

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
        """Tell the loggers how the run ended, and let them send what is left."""
        threads = self._threads or ()
        for thread in threads:
            thread.end(self.facts["state"])
        last = time.monotonic() + PATIENCE
        for thread in threads:
            thread.wait(max(0.0, last - time.monotonic()))

    def _open_loggers(self) -> list[LoggerThread]:
        if not self._loggers:
            return []
        files = self.folder / LOGGERS
        run = LoggedRun(self.facts["id"], self.folder, files, self._recipe, self._first_step)
        return [LoggerThread(options, run) for options in self._loggers]

    def _append(self, name: str, row: dict[str, Any]) -> None:
        path, line = self.folder / name, json.dumps(row) + "\n"
        with room_for(path, len(line)), path.open("a", encoding="utf-8") as file:
            file.write(line)


def timestamp() -> str:
    """Return the time of day as run.json has it."""
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
