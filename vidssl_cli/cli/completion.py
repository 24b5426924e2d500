"""What shells complete: recipes, evaluators, backbones, and keys of `--set` with their values.

Nothing is imported until a shell asks, and torch not then either.
"""

from __future__ import annotations

import glob
import io
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from typing import Any, TypeAlias

import typer

Complete: TypeAlias = Callable[[typer.Context, str], list[str]]

_PLAIN = re.compile(r"[\w./+-]+")
"""Values that no shell takes apart."""


def _asked(of: Callable[[typer.Context, str], Iterable[str]]) -> Complete:
    """Return what completes a word by some candidates; where they cannot be found, by none."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        with suppress(Exception), redirect_stderr(io.StringIO()):
            return sorted(word for word in of(ctx, incomplete) if word.startswith(incomplete))
        return []

    return complete


def _recipes(_context: typer.Context, incomplete: str) -> Iterable[str]:
    from vidssl_cli.config.load import SUFFIX, names

    return [*names(), *glob.glob(f"{glob.escape(incomplete)}*{SUFFIX}")]


def _evaluators(_context: typer.Context, _: str) -> Iterable[str]:
    from vidssl_cli.contract.registry import offered

    return offered("evaluator")


def _backbones(_context: typer.Context, _: str) -> Iterable[str]:
    from vidssl_cli.contract.registry import offered

    return offered("backbone")


def _keys(context: typer.Context, _: str) -> Iterable[str]:
    """Yield the keys of what `--set` changes here, each with the value that it has."""
    from vidssl_cli.config.compare_recipes import as_text, flat

    for key, value in flat(_changed(context)).items():
        text = as_text(value)
        yield f"{key}={text if value is not None and _PLAIN.fullmatch(text) else ''}"


def _changed(context: typer.Context) -> dict[str, Any]:
    """Return the recipe, or the options of a plugin, that a command line names so far."""
    from vidssl_cli.config.load import document, load, load_options
    from vidssl_cli.contract.hooks import BackboneOptions, EvaluatorOptions

    given, command = context.params, context.info_name
    if command in ("evaluate", "import"):
        base, name = {
            "evaluate": (EvaluatorOptions, given.get("evaluator") or "retrieval"),
            "import": (BackboneOptions, given.get("backbone") or ""),
        }[command]
        return load_options(base, name).model_dump(mode="json", exclude={"name"})
    # Arguments are not in `params` yet while the value of an option is missing.
    named = {"demo": "demo", "quickstart": given.get("recipe")}.get(str(command))
    values = document(load(named or context.args[0]))
    return {key: value for key, value in values.items() if key not in ("task", "summary")}


recipe, evaluator, backbone = _asked(_recipes), _asked(_evaluators), _asked(_backbones)
setting = _asked(_keys)
