"""Reading a run directory: its facts, its rows and its checkpoints.

`vidssl_cli.training.run` writes it, and says what it holds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.locks import is_locked
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.files.untrusted_text import parse_json, read_lines, understood

CARD = "model.json"
"""What the network is; run directories and exported model folders have it."""
FACTS, RECIPE, REPORT, CHECKPOINTS = "run.json", "recipe.yaml", "report.json", "checkpoints"
_RESTORE = "restore it from a copy of the run"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a file of rows, if it is there, but for a last row that a killed run did not finish.

    Raises:
        DamagedFileError: another row cannot be read.
    """
    if not path.exists():
        return []
    rows, damaged = [], 0
    for number, line in read_lines(path):
        if damaged:
            raise DamagedFileError(f"line {damaged} is damaged", where=str(path), hint=_RESTORE)
        try:
            rows.append(parse_json(line))
        except ValueError:
            damaged = number
    return rows


def state_of(folder: Path, facts: dict[str, Any]) -> str:
    """Return the state of a run: what run.json says, or ``stopped`` if its process is gone."""
    state = str(facts["state"])
    return "stopped" if state == "running" and not is_locked(folder) else state


def read_facts(folder: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        UsageError: the folder is not a run directory.
        DamagedFileError: run.json is damaged.
    """
    path = folder / FACTS
    if not path.is_file() and not (folder / CHECKPOINTS).is_dir():
        raise UsageError(
            f"{folder} is not a run directory: it has no run.json",
            where=str(folder),
            hint="give the folder that --out named in `vidssl pretrain` or `vidssl finetune`",
        )
    facts = sealed_json.read(path, _RESTORE)
    if not isinstance(facts.get("state"), str):
        raise DamagedFileError("is not what vidssl writes", where=str(path), hint=_RESTORE)
    return facts


def verify_file(folder: Path, name: str) -> Path:
    """Return the path of a run's recipe or card, after checking its digest.

    Raises:
        UsageError: the folder is not a run directory.
        DamagedFileError: the file is missing, or not the one that was written.
    """
    with understood(folder / FACTS):
        path, digest = folder / name, read_facts(folder)["files"][name]
    found = sha256(path) if path.is_file() else "missing"
    if found != digest:
        raise DamagedFileError(
            f"the file is damaged: its SHA-256 is {found}, not {digest}",
            where=str(path),
            hint=f"{_RESTORE}; to train with other settings, begin another run",
        )
    return path


def identify(folder: Path) -> str:
    """Return what names a run in reports: the SHA-256 of its recipe, or of a model's card."""
    if (folder / FACTS).is_file():
        with understood(folder / FACTS):
            recipe: str = read_facts(folder)["files"][RECIPE]
        return recipe
    return sha256(folder / CARD)


def find_checkpoint(folder: Path, name: str) -> Path:
    """Return the folder of a run's checkpoint ``last`` or ``best``.

    Raises:
        UsageError: the folder is not a run directory, or has no such checkpoint yet.
    """
    facts = read_facts(folder)
    link = folder / CHECKPOINTS / name
    if not os.path.lexists(link):
        raise UsageError(
            f"{folder} has no checkpoint {name!r} yet; its state is {facts['state']!r}",
            where=str(link),
            hint="train first: `vidssl pretrain`",
        )
    return Path(os.path.realpath(link))  # also where links go round in circles


def checkpoint_name(folder: Path, name: str) -> str | None:
    """Return the name of the checkpoint ``last`` or ``best``, which has its epoch and step.

    It is None where there is none, as in an exported model.
    """
    link = folder / CHECKPOINTS / name
    return link.resolve().name if link.exists() else None
