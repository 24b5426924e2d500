"""Grids of settings: every value of each ``KEY=VALUE,VALUE`` with every value of the others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from vidssl_cli.base.errors import UsageError

Settings = tuple[str, ...]
"""KEY=VALUE each."""


_BEFORE_QUOTES = ("", "[", "{", ",", ":")
"""What a quoted value follows in YAML; anywhere else a quote is a character like others."""


def split_values(text: str) -> list[str]:
    """Split ``a,b,c`` at its commas, except those inside brackets, braces or quotes.

    So ``[1,2],[3,4]`` are two lists, and ``[1,2]`` is one.
    """
    values, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and values[-1].rstrip()[-1:] in _BEFORE_QUOTES:
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            values.append("")
            continue
        values[-1] += character
    return values


def grid(overrides: Sequence[str]) -> tuple[Settings, list[Settings]]:
    """Return the settings that all points share, and those in which each point differs.

    Args:
        overrides: ``KEY=VALUE,VALUE`` each, with values as YAML.

    Raises:
        UsageError: One of them has another form, or a key is set twice.
    """
    fixed: list[str] = []
    varied: list[list[str]] = []
    keys: set[str] = set()
    for override in overrides:
        key, equals, text = override.partition("=")
        values = split_values(text)
        if not equals or not all(values):
            raise UsageError(
                f"{override}: found no KEY=VALUE or KEY=VALUE,VALUE",
                hint="put a value with commas in brackets or quotes: input.resize=[56,74]",
            )
        if key in keys:
            raise UsageError(
                f"{override}: {key} is set twice", hint=f"give its values together: {key}=A,B"
            )
        keys.add(key)
        settings = [f"{key}={value}" for value in values]
        varied.append(settings) if len(settings) > 1 else fixed.extend(settings)
    return tuple(fixed), list(itertools.product(*varied))
