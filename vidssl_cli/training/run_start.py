"""How a run directory is begun, continued, or emptied for another run."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.compare_recipes import compare
from vidssl_cli.config.load import load, resolved_yaml
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.locks import LOCK, locked
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.model.run_directory import (
    CARD,
    CHECKPOINTS,
    FACTS,
    RECIPE,
    read_facts,
    verify_file,
)
from vidssl_cli.training.optimizer import why_epochs_matter
from vidssl_cli.training.run import BAD_MEDIA, Run, timestamp

if TYPE_CHECKING:
    from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
    from vidssl_cli.model.card import Card


SHORTER = "shorter_recipe"
"""Key of run.json: the SHA-256 of the recipe before its epochs were raised."""


@dataclass(frozen=True)
class RunSpec:
    """What is trained; a run can only be continued with an equal one, or for more epochs."""

    recipe: PretrainRecipe | FinetuneRecipe
    card: Card
    data: str
    """Digest of the videos and their facts."""
    order: str
    """Digest of what training draws on, and when."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What else to record, such as the run that fine-tuning starts from."""

    def files(self) -> dict[str, str]:
        """Return the text of each file that the run keeps, by its name."""
        return {RECIPE: resolved_yaml(self.recipe), CARD: self.card.as_text()}

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each of the files."""
        texts = self.files().items()
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts}


def open_run(out: Path, spec: RunSpec, *, resume: bool, overwrite: bool) -> Run:
    """Create a run directory, or open the one that is there to continue it.

    Args:
        out: the directory.
        spec: what is trained.
        resume: continue the run if there is one.
        overwrite: delete what is there.

    Raises:
        UsageError: something is there already, or what is there is another run.
        DamagedFileError: what is there is damaged.
    """
    _refuse_full(out, resume=resume, overwrite=overwrite)
    if overwrite and out.exists():
        discard_run(out)
    return _continue(out, spec) if _content(out) else _create(out, spec)


def refuse_taken(
    out: Path, recipe: PretrainRecipe | FinetuneRecipe, *, resume: bool, overwrite: bool
) -> None:
    """Raise what `open_run` would, as far as it can be told before DATA is read.

    Args:
        out: the directory.
        recipe: what is asked for.
        resume: as for `open_run`.
        overwrite: as for `open_run`.

    Raises:
        UsageError: something is there already, or what is there is a run of another recipe.
    """
    _refuse_full(out, resume=resume, overwrite=overwrite)
    if overwrite or not (out / RECIPE).is_file():
        return
    facts = read_facts(out)
    if sha256(out / RECIPE) in (facts["files"][RECIPE], facts.get(SHORTER)):
        _is_shorter(out, recipe)


def _refuse_full(out: Path, *, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise UsageError(
            "--resume would go on with what --overwrite throws away", hint="give one of the two"
        )
    if _content(out) and not (resume or overwrite):
        raise UsageError(
            f"{out} is not empty",
            where=str(out),
            hint="go on with it by --resume, or throw it away by --overwrite",
        )


def _create(out: Path, spec: RunSpec) -> Run:
    facts = {
        "id": uuid4().hex,
        "task": spec.recipe.task,
        "seed": spec.recipe.train.seed,
        "data": spec.data,
        "order": spec.order,
        "argv": sys.argv,
        "git": _git_commit(),
        "versions": _versions(),
        "files": spec.digests(),
        "started": timestamp(),
        **spec.origin,
    }
    out.mkdir(parents=True, exist_ok=True)
    run = Run(out, facts)
    run.record_state("running")  # comes first: from now on the run can be continued
    for name, text in spec.files().items():
        atomic_write(out / name, text)
    return run


def _continue(out: Path, spec: RunSpec) -> Run:
    facts, digests = {"id": uuid4().hex} | read_facts(out), spec.digests()  # older ones have no id
    trained = os.path.lexists(out / CHECKPOINTS / "last")
    for name, text in spec.files().items():
        if facts["files"][name] == digests[name] and (
            (not trained and not (out / name).exists())
            or (name == RECIPE and sha256(out / name) == facts.get(SHORTER))
        ):
            atomic_write(out / name, text)  # killed before it was written
        verify_file(out, name)
    shorter = _is_shorter(out, spec.recipe)
    _require_same(out, spec, facts, shorter=shorter)
    _drop_half_row(out / BAD_MEDIA)
    run = Run(out, facts)
    if shorter:
        _raise_epochs(run, spec)
    return run


def _is_shorter(out: Path, asked: PretrainRecipe | FinetuneRecipe) -> bool:
    """Tell whether a run was to take fewer epochs, and else the same as is asked for.

    Raises:
        UsageError: something else differs, or the first epochs of a longer run are others.
    """
    there = load(out / RECIPE)
    differences = compare(there, asked)
    old, new = there.train.epochs, asked.train.epochs
    if [each.key for each in differences] != ["train.epochs"] or new < old:
        if differences:
            changes = "; ".join(f"{each.key}: {each.change()}" for each in differences)
            raise UsageError(
                f"{out} was made by another recipe, or with other settings: {changes}",
                where=str(out / RECIPE),
                hint="give the settings that the run has, or start a new run",
            )
        return False
    if reason := why_epochs_matter(asked.train.schedule):
        raise UsageError(
            f"train.epochs of {out} cannot be raised from {old} to {new}: {reason}, so that a "
            f"run of {new} epochs begins otherwise",
            where=str(out / RECIPE),
            hint="start a new run; epochs can be raised where train.schedule is constant, step or "
            "multistep, without warm-up",
        )
    return True


def _raise_epochs(run: Run, spec: RunSpec) -> None:
    """Let a run take as many epochs as its recipe now says.

    run.json comes first: where the process is killed before the recipe is written, the next one
    knows the shorter recipe by its digest.
    """
    before = run.facts["files"][RECIPE]
    files = run.facts["files"] | {RECIPE: spec.digests()[RECIPE]}
    run.record_state("running", files=files, argv=sys.argv, **{SHORTER: before})
    atomic_write(run.folder / RECIPE, spec.files()[RECIPE])
    say(f"{run.folder} is trained further, to {spec.recipe.train.epochs} epochs")


def _require_same(out: Path, spec: RunSpec, facts: Mapping[str, Any], *, shorter: bool) -> None:
    """Refuse to continue another run than the one that is asked for.

    Args:
        out: the directory.
        spec: what is asked for.
        facts: of the run that is there.
        shorter: whether that was to take fewer epochs.

    Raises:
        UsageError: the data, their order or the first weights differ.
    """
    if facts["data"] != spec.data:
        raise UsageError(
            f"{out} was trained on other data: videos were added, removed or changed",
            where=str(out),
            hint="give the same DATA, or start a new run",
        )
    if facts["order"] != spec.order and shorter:
        raise UsageError(
            f"train.epochs of {out} cannot be raised: its sampler plans the whole run, so that a "
            "longer one begins otherwise",
            where=str(out / RECIPE),
            hint="start a new run",
        )
    if facts["order"] != spec.order:
        raise UsageError(
            f"{out} drew on its clips in another order; their scores have changed since",
            where=str(out),
            hint="restore the file of scores, or start a new run",
        )
    if spec.origin and facts.get("weights") != spec.origin["weights"]:
        raise UsageError(
            f"{out} was begun from other weights",
            where=str(out),
            hint="give the same --from (and --scratch), or start a new run",
        )


def _drop_half_row(path: Path) -> None:
    """Drop a row that a killed process did not write to its end, so that the next has its line."""
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        atomic_write(path, whole)


@contextmanager
def lock_run(out: Path, task: str) -> Iterator[None]:
    """Keep other trainings away from a run directory; `state_of` sees that one trains in it.

    Args:
        out: the directory, which is made if need be.
        task: the command that trains.

    Raises:
        VidsslError: another process trains there.
    """
    if _content(out) and not (out / FACTS).is_file() and not (out / LOCK).exists():
        yield  # no file is left in what is no run directory: `open_run` refuses it
        return
    with locked(out, f"vidssl {task}"):
        yield


_OWN = re.compile(
    r"(run|model|report)\.json|recipe\.yaml|(metrics|bad_media)\.jsonl|events\.out\..*"
    r"|checkpoints|evaluations|features|loggers"
)
"""What a run directory holds. Anything else the user put there, perhaps the videos themselves."""


def discard_run(out: Path) -> None:
    """Empty a run directory.

    Raises:
        UsageError: it is none, or holds other files as well; nothing was deleted.
    """
    foreign = sorted(path.name for path in _content(out) if not _OWN.fullmatch(path.name))
    if foreign or (_content(out) and not (out / FACTS).is_file()):
        example = f", such as {foreign[0]}" if foreign else ""
        raise UsageError(
            f"{out} holds something else than a run{example}, so --overwrite leaves it alone",
            where=str(out),
            hint="choose another --out, or move what is no part of the run",
        )
    # run.json comes last, so that the command can be given again if it is killed.
    for path in sorted(_content(out), key=lambda path: path.name == FACTS):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _content(out: Path) -> list[Path]:
    """Return what a folder holds, if there is one, but for the lock and half-written files."""
    return list(out.glob("[!.]*")) if out.is_dir() else []


def _versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    names = ("vidssl", "torch", "numpy", "av")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


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
