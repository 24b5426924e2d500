"""`vidssl recipes`: lists, prints, compares and checks recipes, and prints their schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidssl_cli.cli.options import AsJson, Overrides, RecipeName

if TYPE_CHECKING:
    from vidssl_cli.config.listing import Outline

recipes = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(recipes, name="recipes")


@recipes.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recipes that can be named, by folder.

    Each with its summary, backbone, sampler and pretext tasks.
    """
    from itertools import groupby

    from vidssl_cli.base import console
    from vidssl_cli.config.listing import outlines
    from vidssl_cli.contract.entry_points import OURS

    found = outlines()
    if as_json:
        console.emit_json({"recipes": [_as_document(each) for each in found]})
        return
    for (package, folder), group in groupby(found, key=lambda each: (each.package, each.folder)):
        heading = folder or "general"
        console.emit(heading if package == OURS else f"{heading}, from {package}")
        for each in group:
            console.emit(f"  {each.name}")
            for line in (each.summary, each.method()):
                _emit_indented(line)
        console.emit("")


def _as_document(outline: Outline) -> dict[str, Any]:
    from dataclasses import asdict

    pretexts = [
        {"name": name, "label": label, "weight": weight} for name, label, weight in outline.pretexts
    ]
    return asdict(outline) | {"path": str(outline.path), "pretexts": pretexts}


def _emit_indented(line: str) -> None:
    from textwrap import wrap

    from vidssl_cli.base import console

    for part in wrap(line, 80, initial_indent=" " * 4, subsequent_indent=" " * 6):
        console.emit(part)


@recipes.command()
def show(
    recipe: RecipeName,
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", help="With --diff, the second recipe.")
    ] = None,
    overrides: Overrides = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what differs in OTHER, to which --set applies.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a recipe with every key, or the differences of two.

    The comment that a recipe's file begins with comes first: what it reproduces, by which commands,
    and what differs from the paper or had to be chosen. The output for one recipe is itself a
    recipe.
    """
    from vidssl_cli.base import console
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.config import load

    if diff and other is None:
        raise UsageError("--diff takes two recipes", hint="vidssl recipes show --diff RECIPE OTHER")
    if other is not None:
        if not diff:
            raise UsageError(
                f"unexpected extra argument {other!r}; two recipes are compared by --diff",
                hint="see vidssl recipes show --help",
            )
        _compare(recipe, other, overrides or (), as_json)
        return
    loaded = load.load(recipe, overrides or ())
    if as_json:
        path = str(load.find(recipe))
        console.emit_json({"path": path, "recipe": loaded.model_dump(mode="json")})
    else:
        if comment := load.opening_comment(recipe):
            console.emit("\n".join([*comment, ""]), lines=True)
        console.stdout.file.write(load.resolved_yaml(loaded))


def _compare(old: str, new: str, overrides: Sequence[str], as_json: bool) -> None:
    """Print the differences: a table on a terminal, a line for each key elsewhere."""
    from vidssl_cli.base import console
    from vidssl_cli.config import load
    from vidssl_cli.config.compare_recipes import compare

    found = compare(load.load(old), load.load(new, overrides))
    if as_json:
        ends = {
            end: {"name": name, "path": str(load.find(name))}
            for end, name in (("from", old), ("to", new))
        }
        console.emit_json(ends | {"differences": [each.as_document() for each in found]})
    elif not found:
        console.say(f"{old} and {new} are the same")
    elif console.stdout.is_terminal:
        rows = [(each.key, each.change()) for each in found]
        console.emit_table("", ["key", f"{old} → {new}"], rows)
    else:
        for each in found:
            console.emit(f"{each.key}: {each.change()}")


@recipes.command()
def check(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Names or files.", show_default=False)
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes, and report every problem with its place."""
    from vidssl_cli.base import console
    from vidssl_cli.base.errors import VidsslError
    from vidssl_cli.config import load

    rows: list[dict[str, str]] = []
    failures: list[VidsslError] = []
    for recipe in recipes:
        try:
            load.load(recipe, overrides or ())
        except VidsslError as error:
            failures.append(error)
        else:
            rows.append({"name": recipe, "path": str(load.find(recipe))})
    if failures:
        worst = max(failures, key=lambda error: error.status)
        problems = [problem for error in failures for problem in error.problems]
        raise type(worst)(problems, where=worst.where, hint=worst.hint)
    if as_json:
        console.emit_json({"recipes": rows})
        return
    for row in rows:
        console.emit(f"{row['path']}: fine")


@recipes.command()
def schema(
    task: Annotated[
        Literal["pretrain", "finetune"],
        typer.Argument(metavar="TASK", help="pretrain or finetune."),
    ] = "pretrain",
    _as_json: AsJson = False,
) -> None:
    """Print the JSON Schema of recipes, for editors.

    It covers the installed plugins.
    """
    from vidssl_cli.base import console
    from vidssl_cli.config import load

    console.emit_json(load.json_schema(task))
