"""What a command says at its end: the command that people usually give next, with its paths."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

_quiet = False


@contextmanager
def quiet() -> Iterator[None]:
    """Let commands name no next one while another command runs them in turn."""
    global _quiet
    before, _quiet = _quiet, True
    try:
        yield
    finally:
        _quiet = before


def say_next(as_json: bool, *words: object) -> None:
    """Name the next command on stderr, as a shell takes it; say nothing with ``--json``."""
    from vidssl_cli.base.console import say

    if not (as_json or _quiet):
        say(f"next: {command_line(*words)}")


def announce(number: int, of: int, what: str, *words: object) -> None:
    """Say which step comes, and by which command."""
    from vidssl_cli.base.console import say

    say(f"{number} of {of}: {what}")
    say(f"    {command_line(*words)}")


def command_line(*words: object) -> str:
    """Return a command as a shell takes it."""
    return shlex.join(["vidssl", *map(str, words)])


def new_run(recipe: str) -> Path:
    """Return a folder for a run of a recipe, where nothing is yet: `runs/default-2`."""
    name = Path(recipe).stem if recipe.endswith(".yaml") else recipe.replace("/", "-")
    number, run = 1, Path("runs", name)
    while run.exists():
        number += 1
        run = Path("runs", f"{name}-{number}")
    return run


def setting(overrides: Sequence[str] | None) -> list[str]:
    """Return the words that give a command the same ``--set``."""
    return [word for override in overrides or () for word in ("--set", override)]


def index_of(run: Path) -> Path:
    """Return where the index of a run is suggested to be."""
    return run.with_name(f"{run.name}.index")


def search_of(index: Path) -> list[object]:
    """Return the command that shows an index: the search page, or hits where it has no server."""
    if find_spec("starlette") and find_spec("uvicorn"):
        return ["serve", index]
    return ["retrieve", index, "#0", "--gallery", index.with_suffix(".html"), "--overwrite"]
