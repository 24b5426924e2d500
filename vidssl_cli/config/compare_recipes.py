"""Compares two recipes key by key."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from vidssl_cli.config.load import document

if TYPE_CHECKING:
    from vidssl_cli.config.recipe import Recipe

ABSENT: Final = object()
"""The value of a key that a recipe does not have; None is a value."""


@dataclass(frozen=True)
class Difference:
    """A key with different values in two recipes."""

    key: str
    """Dotted, as ``--set`` takes it; items of lists of plugins are named, not numbered."""
    old: Any
    """Its value in the first recipe, or `ABSENT`."""
    new: Any

    def as_document(self) -> dict[str, Any]:
        """Return it for JSON; what a recipe does not have is left out."""
        values = {"key": self.key, "from": self.old, "to": self.new}
        return {name: value for name, value in values.items() if value is not ABSENT}

    def change(self) -> str:
        """Return both values as text, a dash for a value that is absent."""
        return f"{as_text(self.old)} → {as_text(self.new)}"


def compare(old: Recipe, new: Recipe) -> list[Difference]:
    """Return the keys that differ, in the order of a recipe's sections."""
    before, after = flat(document(old)), flat(document(new))
    keys = in_order([*before, *after])
    pairs = ((key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys)
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def flat(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a recipe by their dotted keys."""
    return dict(_flat(recipe))


def in_order(keys: Sequence[str]) -> list[str]:
    """Return keys, each once, sorted by section; sections in the order of their first keys."""
    sections = {section: 0 for key in keys for section in _sections(key)}
    place = {section: number for number, section in enumerate(sections)}
    return sorted(set(keys), key=lambda key: [place[section] for section in _sections(key)])


def _sections(key: str) -> list[str]:
    """Return ``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    return list(accumulate(key.split("."), "{}.{}".format))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every plain value with its dotted key."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else name)
    elif names := _names(value):
        for name, inner in zip(names, value, strict=True):
            options = {option: value for option, value in inner.items() if option != "name"}
            yield from _flat(options, f"{key}.{name}")
    else:
        yield key, value


def _names(value: Any) -> Sequence[str]:
    """Return the names of a list of plugins, ``name#2`` for the second of a name; else nothing."""
    if not isinstance(value, list) or not all(isinstance(v, dict) and "name" in v for v in value):
        return []
    seen: Counter[str] = Counter()
    names = []
    for item in value:
        seen[name := item["name"]] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def as_text(value: Any) -> str:
    """Return a value as text, a dash for one that is absent."""
    if value is ABSENT:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
