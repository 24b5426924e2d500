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

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import resolved_yaml
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.disk_space import room_for
from vidssl_cli.files.locks import LOCK, locked
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.run_directory import (
    CARD,
    CHECKPOINTS,
    FACTS,
    RECIPE,
    intact,
    read_facts,
    read_rows,
)

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe


class Run:
    """A run directory that this process writes to."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
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
        return {row["path"] for row in read_rows(self.folder / "bad_media.jsonl")}

    def log(self, row: dict[str, Any]) -> None:
        """Add a row, with its ``step``, to metrics.jsonl and to TensorBoard's events."""
        self._append("metrics.jsonl", row)
        if self._events is None and self._wants_events:
            self._wants_events = False
            self._events = self._open_events()
        if self._events is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Bring TensorBoard's events to disk."""
        if self._events is not None:
            self._events.close()

    def _open_events(self) -> SummaryWriter | None:
        """Open TensorBoard's file; it fails where any installed package is damaged."""
        try:
            from torch.utils.tensorboard import SummaryWriter

            return SummaryWriter(str(self.folder), purge_step=self._first_step)
        except Exception as error:
            warn(f"TensorBoard cannot be used: {type(error).__name__}: {error}")
            return None

    def rewind(self, epoch: int, step: int) -> None:
        """Forget what was logged later than so many epochs and steps: it will be done again."""
        self._first_step = step + 1
        path = self.folder / "metrics.jsonl"
        with understood(path):
            kept = [
                json.dumps(row) + "\n"
                for row in read_rows(path)
                if (row["epoch"] < epoch if "epoch.loss" in row else row["step"] <= step)
            ]
        atomic_write(path, "".join(kept))

    def skip(self, error: MediaError) -> None:
        """Note a video that cannot be read, once in each process."""
        path = error.where or ""
        if path in self._named:
            return
        self._named.add(path)
        self._append("bad_media.jsonl", error.row)

    def state(self, state: str, **facts: Any) -> None:
        """Record how the run stands: running, finished, preempted, interrupted or failed."""
        self.facts.pop("reason", None)  # that of an earlier session
        self.facts |= {"state": state, "updated": _now(), **facts}
        atomic_write(self.folder / FACTS, sealed_json.render(self.facts))

    def _append(self, name: str, row: dict[str, Any]) -> None:
        path, line = self.folder / name, json.dumps(row) + "\n"
        with room_for(path, len(line)), path.open("a", encoding="utf-8") as file:
            file.write(line)


def open_run(
    out: Path,
    recipe: PretrainRecipe | FinetuneRecipe,
    card: str,
    *,
    data_digest: str,
    order_digest: str,
    resume: bool,
    overwrite: bool,
    origin: dict[str, Any] | None = None,
) -> Run:
    """Create a run directory, or open one to go on with it.

    Args:
        out: the directory.
        recipe: what to train.
        card: what the network is, for `CARD`.
        data_digest: identifies the videos and their facts.
        order_digest: identifies what training draws on, and when.
        resume: go on with the run if there is one.
        overwrite: throw away what is there.
        origin: what else to record, such as the run that fine-tuning starts from.

    Raises:
        UsageError: something is there already, or what is there is another run.
        DamagedFileError: what is there is damaged.
    """
    if resume and overwrite:
        raise UsageError(
            "--resume would go on with what --overwrite throws away", hint="give one of the two"
        )
    texts = {RECIPE: resolved_yaml(recipe), CARD: card}
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    if overwrite and out.exists():
        _discard(out)
    if _content(out):
        if not resume:
            raise UsageError(
                f"{out} is not empty",
                where=str(out),
                hint="go on with it by --resume, or throw it away by --overwrite",
            )
        facts = read_facts(out)
        begun = os.path.lexists(out / CHECKPOINTS / "last")
        for name, text in texts.items():
            if not begun and not (out / name).exists() and facts["files"][name] == digests[name]:
                atomic_write(out / name, text)  # killed before it was written
            intact(out, name)
        if facts["files"][RECIPE] != digests[RECIPE]:
            raise UsageError(
                f"{out} was made by another recipe",
                where=str(out / RECIPE),
                hint=f"compare with `vidssl recipes show {out / RECIPE}`",
            )
        if facts["data"] != data_digest:
            raise UsageError(
                f"{out} was trained on other data: videos were added, removed or changed",
                where=str(out),
                hint="give the same DATA, or start a new run",
            )
        if facts["order"] != order_digest:
            raise UsageError(
                f"{out} drew on its clips in another order; their scores have changed since",
                where=str(out),
                hint="restore the file of scores, or start a new run",
            )
        if origin and facts.get("weights") != origin["weights"]:
            raise UsageError(
                f"{out} was begun from other weights",
                where=str(out),
                hint="give the same --from (and --scratch), or start a new run",
            )
        _drop_half_row(out / "bad_media.jsonl")
        return Run(out, facts)
    facts = {
        "task": recipe.task,
        "seed": recipe.train.seed,
        "data": data_digest,
        "order": order_digest,
        "argv": sys.argv,
        "git": _git_commit(),
        "versions": versions(),
        "files": digests,
        "started": _now(),
        **(origin or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, facts)
    run.state("running")  # comes first, since it makes the folder one that can be gone on with
    for name, text in texts.items():
        atomic_write(out / name, text)
    return run


def _drop_half_row(path: Path) -> None:
    """Drop a row that was cut short when its process was killed, so that the next has its line."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        atomic_write(path, whole)


@contextmanager
def occupied(out: Path, task: str) -> Iterator[None]:
    """Keep other trainings away from a run directory, and tell `state_of` that one is going on.

    Args:
        out: The directory, which is made if need be.
        task: The command that trains.

    Raises:
        VidsslError: Another process trains there.
    """
    if _content(out) and not (out / FACTS).is_file() and not (out / LOCK).exists():
        yield  # nothing is left in what is no run directory: `open_run` refuses it
        return
    with locked(out, f"vidssl {task}"):
        yield


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("vidssl", "torch", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


_OWN = re.compile(
    r"(run|model|report)\.json|recipe\.yaml|(metrics|bad_media)\.jsonl|events\.out\..*"
    r"|checkpoints|evaluations|features"
)
"""What a run directory holds. Anything else somebody put there, perhaps the videos themselves."""


def _discard(out: Path) -> None:
    """Empty a run directory, and nothing that is not one or holds more than one."""
    foreign = sorted(path.name for path in _content(out) if not _OWN.fullmatch(path.name))
    if foreign or (_content(out) and not (out / FACTS).is_file()):
        example = f", such as {foreign[0]}" if foreign else ""
        raise UsageError(
            f"{out} holds something else than a run{example}, so --overwrite leaves it alone",
            where=str(out),
            hint="choose another --out, or move what is no part of the run",
        )
    # What makes it a run comes last, so that the command can be given again if it is killed.
    for path in sorted(_content(out), key=lambda path: path.name == "run.json"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _content(out: Path) -> list[Path]:
    """Return what is in a folder, if it is there, but for the lock and what was half written."""
    return list(out.glob("[!.]*")) if out.is_dir() else []


def _git_commit() -> str | None:
    """Return the commit of the working directory, with a + if files differ from it."""
    try:
        output = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"],
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return output.stdout.strip() or None


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")
