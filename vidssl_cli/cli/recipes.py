"""`vidssl recipes`: what there is, in full, whether a file is right, and the schema for editors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from vidssl_cli.cli.options import AsJson, Overrides, RecipeName

recipes = typer.Typer(no_args_is_help=True, help="List, show and check recipes.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(recipes, name="recipes")


@recipes.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recipes that can be named."""
    from vidssl_cli import console, recipe_files

    rows = [
        {"name": name, "path": str(path), "summary": recipe_files.summary(path)}
        for name, path in recipe_files.names().items()
    ]
    if as_json:
        console.emit_json({"recipes": rows})
    else:
        console.emit_table("", ["name", "summary"], ([row["name"], row["summary"]] for row in rows))


@recipes.command()
def show(recipe: RecipeName, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a recipe with every key spelt out.

    The output is itself a recipe.
    """
    from vidssl_cli import console, recipe_files

    loaded = recipe_files.load(recipe, overrides or ())
    if as_json:
        path = str(recipe_files.find(recipe))
        console.emit_json({"path": path, "recipe": loaded.model_dump(mode="json")})
    else:
        console.stdout.file.write(recipe_files.resolved_yaml(loaded))


@recipes.command()
def check(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Names or files.", show_default=False)
    ],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check recipes; name every problem with its place."""
    from vidssl_cli import console, recipe_files
    from vidssl_cli.errors import VidsslError

    rows: list[dict[str, str]] = []
    failures: list[VidsslError] = []
    for recipe in recipes:
        try:
            recipe_files.load(recipe, overrides or ())
        except VidsslError as error:
            failures.append(error)
        else:
            rows.append({"name": recipe, "path": str(recipe_files.find(recipe))})
    if failures:
        worst = max(failures, key=lambda error: error.status)
        lines = "\n".join(map(str, failures))
        raise type(worst)(lines, where=worst.where, hint=worst.hint)
    if as_json:
        console.emit_json({"recipes": rows})
        return
    for row in rows:
        typer.echo(f"{row['path']}: fine")


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
    from vidssl_cli import console, recipe_files

    console.emit_json(recipe_files.KINDS[task].model_json_schema())
