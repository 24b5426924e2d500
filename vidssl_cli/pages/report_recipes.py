"""The recipes of a report: how they differ, what was changed in each, and each in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.config.compare_recipes import ABSENT, as_text, flat, in_order
from vidssl_cli.config.load import document, load
from vidssl_cli.contract.reports import Table

if TYPE_CHECKING:
    from vidssl_cli.evaluation.scoreboard import Group

SEED = "train.seed"


@dataclass(frozen=True)
class ShownRecipe:
    """A recipe on the page."""

    title: str
    summary: str
    named: str
    """The recipe that the command line names, or nothing."""
    changed: Table | None
    """What differs between that one and this."""
    text: str


def differences(of_names: Mapping[str, Mapping[str, Any]]) -> Table | None:
    """Return a table of the keys whose values differ, without the seed; None if none does."""
    flats = [flat(recipe) for recipe in of_names.values()]
    keys = in_order([key for each in flats for key in each])
    rows = [
        [key, *(as_text(each.get(key, ABSENT)) for each in flats)]
        for key in keys
        if key != SEED and any(each.get(key, ABSENT) != flats[0].get(key, ABSENT) for each in flats)
    ]
    return Table("What differs", ["key", *of_names], rows) if rows else None


def shown_recipe(group: Group) -> ShownRecipe:
    """Return the recipe of a group of runs, and what was changed in the one that was named."""
    record, name, changed = group.records[0], "", None
    if named := _named(record.facts.get("argv", []), str(group.recipe.get("task"))):
        name, recipe = named
        changed = differences({f"{name}, as it is now": recipe, group.name: group.recipe})
    return ShownRecipe(
        f"{group.name}: {record.method}",
        str(group.recipe.get("summary") or ""),
        name,
        changed,
        record.source.read_text(encoding="utf-8", errors="replace"),
    )


def _named(argv: Sequence[str], task: str) -> tuple[str, Mapping[str, Any]] | None:
    """Return the recipe that a command line names, if it can still be read."""
    if task not in argv[:-1]:
        return None
    name = argv[argv.index(task) + 1]
    try:
        return name, document(load(name))
    except VidsslError:
        return None
