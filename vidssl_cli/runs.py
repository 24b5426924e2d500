"""The run directory: what was asked for, how it went, and where its checkpoints are.

recipe.yaml      the resolved recipe; itself a valid recipe
run.json         state, versions, seed, git, argv, digest of the data and which data set it is
metrics.jsonl    one row per training step or evaluation, or per step that was not taken
bad_media.jsonl  videos that could not be read, with the reason
events.out.…     the rows of metrics.jsonl for TensorBoard, where it is installed
checkpoints/     last, best
.lock            held by the process that trains
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.artefacts import LOCK, atomic_write, is_locked, locked
from vidssl_cli.errors import DamagedFileError, UsageError
from vidssl_cli.recipe_files import resolved_yaml

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from vidssl_cli.errors import MediaError
    from vidssl_cli.recipe import FinetuneRecipe, PretrainRecipe


CARD = "model.json"
"""What the network is; lies in a run directory as in an exported model folder."""


class Run:
    """A run directory that this process writes to."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self._named = self.skipped
        self._events: SummaryWriter | None = None
        self._first_step = 0

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def skipped(self) -> set[str]:
        """Paths of the videos that could not be read, by any process of any session."""
        return {row["path"] for row in read_rows(self.folder / "bad_media.jsonl")}

    def log(self, row: dict[str, Any]) -> None:
        """Add a row, with its ``step``, to metrics.jsonl and to TensorBoard's events."""
        self._append("metrics.jsonl", row)
        if self._events is None and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            folder = str(self.folder)
            self._events = SummaryWriter(folder, purge_step=self._first_step)
        if self._events is not None:
            for name, value in row.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Bring TensorBoard's events to disk."""
        if self._events is not None:
            self._events.close()

    def rewind(self, step: int) -> None:
        """Forget what was logged after a step, since it will be done again."""
        self._first_step = step + 1
        path = self.folder / "metrics.jsonl"
        kept = [json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step]
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
        atomic_write(self.folder / "run.json", json.dumps(self.facts, indent=2) + "\n")

    def _append(self, name: str, row: dict[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows, if it is there; the last row of a killed run may be cut off."""
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def open_run(
    out: Path,
    recipe: PretrainRecipe | FinetuneRecipe,
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
        data_digest: identifies the videos and their facts.
        order_digest: identifies what training draws on, and when.
        resume: go on with the run if there is one.
        overwrite: throw away what is there.
        origin: what else to record, such as the run that fine-tuning starts from.

    Raises:
        UsageError: something is there already, or what is there is another run.
    """
    if resume and overwrite:
        raise UsageError(
            "--resume would go on with what --overwrite throws away", hint="give one of the two"
        )
    text = resolved_yaml(recipe)
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
        if (out / "recipe.yaml").read_text(encoding="utf-8") != text:
            raise UsageError(
                f"{out} was made by another recipe",
                where=str(out / "recipe.yaml"),
                hint=f"compare with `vidssl recipes show {out / 'recipe.yaml'}`",
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
        return Run(out, facts)
    facts = {
        "task": recipe.task,
        "seed": recipe.train.seed,
        "data": data_digest,
        "order": order_digest,
        "argv": sys.argv,
        "git": _git_commit(),
        "versions": versions(),
        "started": _now(),
        **(origin or {}),
    }
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, facts)
    atomic_write(out / "recipe.yaml", text)
    run.state("running")
    return run


@contextmanager
def occupied(out: Path, task: str) -> Iterator[None]:
    """Keep other trainings away from a run directory, and tell `state_of` that one is going on.

    Args:
        out: The directory, which is made if need be.
        task: The command that trains.

    Raises:
        VidsslError: Another process trains there.
    """
    if _content(out) and not (out / "run.json").is_file():
        yield  # nothing is left in what is no run directory: `open_run` refuses it
        return
    with locked(out, f"vidssl {task}"):
        yield


def state_of(folder: Path, facts: dict[str, Any]) -> str:
    """Return how a run stands: what run.json says, or ``stopped`` if its process is gone."""
    state = str(facts["state"])
    return "stopped" if state == "running" and not is_locked(folder) else state


def read_facts(folder: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        UsageError: the folder is not a run directory.
        DamagedFileError: run.json cannot be parsed.
    """
    path = folder / "run.json"
    if not path.is_file():
        raise UsageError(
            f"{folder} is not a run directory: it has no run.json",
            where=str(folder),
            hint="give the folder that --out named in `vidssl pretrain` or `vidssl finetune`",
        )
    try:
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(f"{path} is not JSON: {error}", where=str(path)) from None
    return facts


def checkpoint_of(folder: Path, name: str) -> Path:
    """Return the folder of a run's checkpoint ``last`` or ``best``.

    Raises:
        UsageError: the folder is not a run directory, or has no such checkpoint yet.
    """
    facts = read_facts(folder)
    link = folder / "checkpoints" / name
    if not link.exists():
        raise UsageError(
            f"{folder} has no checkpoint {name!r} yet; its state is {facts['state']!r}",
            where=str(link),
            hint="train first: `vidssl pretrain`",
        )
    return link.resolve()


def trained(folder: Path, name: str) -> str | None:
    """Say how far the checkpoint ``last`` or ``best`` of a run was trained; None if there is none.

    An exported model has none.
    """
    link = folder / "checkpoints" / name
    return link.resolve().name if link.exists() else None


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("vidssl", "torch", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def _discard(out: Path) -> None:
    """Empty a run directory, and nothing that is not one."""
    if _content(out) and not (out / "run.json").is_file():
        raise UsageError(
            f"{out} holds something else than a run, so --overwrite leaves it alone",
            where=str(out),
            hint="choose another --out",
        )
    for path in _content(out):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _content(out: Path) -> list[Path]:
    """Return what is in a folder, if it is there, but for the lock."""
    return [path for path in out.iterdir() if path.name != LOCK] if out.is_dir() else []


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
