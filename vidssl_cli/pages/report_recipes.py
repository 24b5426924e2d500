"""The recipes of a report: in what they differ, what was changed in each, and each in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.base.escaping import escape
from vidssl_cli.config.compare import ABSENT, as_text, flat, in_order
from vidssl_cli.config.load import document, load
from vidssl_cli.pages.html import details, table

if TYPE_CHECKING:
    from vidssl_cli.evaluation.scoreboard import Group

SEED = "train.seed"


def recipes(groups: Sequence[Group]) -> list[str]:
    """Return HTML."""
    found = {group.name: group.recipe for group in groups}
    differing = _differences(found)
    head = [f"<h3>What differs</h3>{differing}"] if differing else []
    return [*head, *map(_recipe, groups)]


def _recipe(group: Group) -> str:
    """Show a recipe: what was changed in the one that was named, and all of it."""
    record = group.records[0]
    parts = []
    if summary := group.recipe.get("summary"):
        parts.append(f"<p>{escape(str(summary))}</p>")
    if named := _named(record.facts.get("argv", []), str(group.recipe.get("task"))):
        name, recipe = named
        changed = _differences({f"{name}, as it is now": recipe, group.name: group.recipe})
        parts.append(changed or f"<p>As {escape(name)} is now.</p>")
    text = record.source.read_text(encoding="utf-8", errors="replace")
    parts.append(f"<pre>{escape(text)}</pre>")
    return details(f"{group.name}: {record.method}", "".join(parts))


def _named(argv: Sequence[str], task: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the recipe that a command line names, if it can still be read."""
    if task not in argv[:-1]:
        return None
    name = argv[argv.index(task) + 1]
    try:
        return name, document(load(name))
    except VidsslError:
        return None


def _differences(of_names: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of the keys whose values differ, but for the seed; nothing if none does."""
    flats = [flat(recipe) for recipe in of_names.values()]
    keys = in_order([key for each in flats for key in each])
    rows = [
        [key, *(as_text(each.get(key, ABSENT)) for each in flats)]
        for key in keys
        if key != SEED and any(each.get(key, ABSENT) != flats[0].get(key, ABSENT) for each in flats)
    ]
    return table(["key", *of_names], rows) if rows else ""
