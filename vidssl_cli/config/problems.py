"""Describes what is wrong with a recipe: where, which key, what was found and expected."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from vidssl_cli.config.yaml_source import Key, Located
from vidssl_cli.contract.loading import BASES
from vidssl_cli.contract.registry import offered

Models = Sequence[type[BaseModel]]

LONGEST = 60
"""Characters to show of a value that was found."""


def describe(kind: type[BaseModel], invalid: ValidationError, document: Located) -> list[str]:
    """Return one ``place: key: problem`` per place and key, in the order of the document."""
    found: dict[tuple[str, str], list[str]] = {}
    for error in _relevant(invalid):
        key, owners, choices = _resolve(kind, error["loc"], document.data)
        if error["type"] == "union_tag_invalid":
            key = (*key, "name")
        where = document.place(key), ".".join(map(str, key))
        problem = _problem(error, owners, choices)
        if problem not in found.setdefault(where, []):
            found[where].append(problem)  # several, one for each choice of a union
    order = list(document.places.values())
    return [
        ": ".join(filter(None, [place, key, ", or ".join(problems)]))
        for (place, key), problems in sorted(
            found.items(), key=lambda item: order.index(item[0][0])
        )
    ]


def names_unknown_plugin(invalid: ValidationError) -> bool:
    """Tell whether a plugin is named that is not installed."""
    return any(
        error["type"] == "union_tag_invalid" and error["loc"][0] in BASES
        for error in invalid.errors(include_url=False)
    )


def nearest(word: object, words: Iterable[str]) -> str:
    """Return ``; did you mean '…'?`` if one of the words is close, otherwise nothing."""
    close = difflib.get_close_matches(str(word), list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def any_of(words: Sequence[str]) -> str:
    """Return ``'a', 'b' or 'c'``."""
    quoted = [repr(word) for word in words]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _relevant(invalid: ValidationError) -> Iterator[ErrorDetails]:
    """Yield the errors, without lists that are too short because their items are wrong."""
    errors = invalid.errors(include_url=False)
    for error in errors:
        loc = error["loc"]
        inside = any(other["loc"][: len(loc)] == loc != other["loc"] for other in errors)
        if not (error["type"] == "too_short" and inside):
            yield error


def _resolve(
    kind: type[BaseModel], loc: Sequence[str | int], data: Any
) -> tuple[Key, Models, Models]:
    """Turn pydantic's location into a key of the document.

    Pydantic's has parts that are not in the document: the name of the chosen plugin, the type that
    was tried, the position in a list of one that is written as a mapping.

    Returns:
        The key, the models that have its last part as a field, and the models that its value may
        be.
    """
    key: list[str | int] = []
    owners: Models = ()
    choices: Models = [kind]
    for part in loc:
        chosen = [model for model in choices if key and part in _tags(model)]
        if chosen and choices is not owners:
            owners = choices = chosen
        elif choices and isinstance(part, str):
            key.append(part)
            owners, choices = (
                choices,
                [
                    inner
                    for model in choices
                    if part in model.model_fields
                    for inner in _inside(model.model_fields[part].annotation)
                ],
            )
            data = data.get(part) if isinstance(data, dict) else None
        elif _holds(data, part):
            key.append(part)
            data = data[part]
    return tuple(key), owners, choices


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names that select the model in a union."""
    name = model.model_fields.get("name")
    return get_args(name.annotation) if name and get_origin(name.annotation) is Literal else ()


def _inside(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field's annotation mentions; plugins stand for their base."""
    for kind, base in BASES.items():
        if annotation is base:
            yield from offered(kind).values()
            return
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inside(part)


def _holds(data: Any, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


def _problem(error: ErrorDetails, owners: Models, choices: Models) -> str:
    """Return what was found, what is expected, and the nearest name."""
    found = _shown(error["input"])
    match error["type"]:
        case "missing":
            return "missing, and it has no default"
        case "extra_forbidden":
            known = sorted({name for model in owners for name in model.model_fields})
            guess = nearest(error["loc"][-1], known)
            return f"unknown key{guess or '; there is ' + ', '.join(known)}"
        case "union_tag_invalid":
            tags = sorted(tag for model in choices for tag in _tags(model))
            return f"found {error['ctx']['tag']!r}, expected {any_of(tags)}" + nearest(
                error["ctx"]["tag"], tags
            )
        case "union_tag_not_found" | "model_type" | "model_attributes_type" | "dict_type":
            tags = sorted(tag for model in choices for tag in _tags(model))
            return f"found {found}, expected " + (
                f"a mapping whose name is {any_of(tags)}" if tags else "a mapping of keys"
            )
        case "literal_error":
            words = _literals(error["ctx"]["expected"])
            return f"found {found}, expected {error['ctx']['expected']}" + nearest(
                error["input"], words
            )
        case "value_error":
            return str(error["ctx"]["error"])
    message = error["msg"].removeprefix("Input should be ").split(", unable to parse")[0]
    if message == error["msg"]:
        return f"{message} (found {found})"
    comparison = message.startswith(("greater", "less"))
    return f"found {found}, expected {'a number ' if comparison else ''}{message}"


def _literals(expected: str) -> list[str]:
    """Split pydantic's ``'a', 'b' or 'c'`` into words."""
    return [word for position, word in enumerate(expected.split("'")) if position % 2]


def _shown(value: Any) -> str:
    """Return a value as a recipe writes it, cut to `LONGEST` characters."""
    if value is None:
        return "nothing"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
