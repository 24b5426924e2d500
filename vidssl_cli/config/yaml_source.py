"""Reads YAML with the place of every value: file, line and column, or the override that set it.

A subset of YAML 1.2: aliases, merge keys, tags, repeated keys and deep nesting are problems.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

LARGEST = 100_000
"""Most bytes of a file; a recipe has a few thousand."""
DEEPEST = 32
"""Most levels of nesting."""

Key = tuple[str | int, ...]
"""Path to a value: keys of mappings and positions in lists, outermost first."""


@dataclass
class Located:
    """Plain data with the place of every value, and the problems found while reading."""

    data: Any
    """What JSON knows: dict, list, str, int, float, bool, None."""
    places: dict[Key, str]
    problems: list[str] = field(default_factory=list)

    def place(self, key: Key) -> str:
        """Return the place of a value, or of its section where it is missing."""
        while key not in self.places:
            key = key[:-1]
        return self.places[key]

    def override(self, text: str) -> None:
        """Apply one ``key.key=value``; add what is wrong with it to the problems.

        The value is YAML and replaces the old one. A number selects an item of a list; 0 also
        selects a mapping that is written in place of a list of one.
        """
        origin = f"--set {text}"
        dotted, equals, value = text.partition("=")
        parts = dotted.split(".")
        if not equals or not all(parts):
            self.problems.append(f"{origin}: found no KEY=VALUE, expected such as train.epochs=5")
            return
        if len(parts) > DEEPEST:
            self.problems.append(f"{origin}: nested deeper than {DEEPEST} levels")
            return
        new = parse(value, origin)
        if new.problems:
            self.problems += new.problems
            return
        try:
            self._put(parts, new.data, origin)
        except _NoSuchKeyError as error:
            self.problems.append(f"{origin}: {dotted}: {error}")

    def _put(self, parts: list[str], value: Any, origin: str) -> None:
        holder: Any = {"": self.data}  # so that the outermost value can be replaced too
        slot: str | int = ""
        key: Key = ()
        for position, part in enumerate(parts):
            inside = holder[slot]
            if isinstance(inside, dict) and part == "0" and part not in inside and inside:
                continue  # a mapping in place of a list of one
            if inside is None:
                inside = holder[slot] = {}
                self.places[key] = origin
            holder, slot = inside, _slot(inside, part, ".".join(parts[:position]))
            key = (*key, slot)
            if isinstance(holder, dict):
                holder.setdefault(slot, None)
        holder[slot] = value
        self.places = {old: place for old, place in self.places.items() if old[: len(key)] != key}
        self.places[key] = origin


class _NoSuchKeyError(Exception):
    """The key of an override does not exist."""


def _slot(holder: Any, part: str, name: str) -> str | int:
    """Return one part of a dotted key as a key of a mapping or a position in a list."""
    if isinstance(holder, dict):
        return part
    if not isinstance(holder, list):
        raise _NoSuchKeyError(f"{name} is {holder!r}, which has no keys")
    if part in map(str, range(len(holder))):
        return int(part)
    raise _NoSuchKeyError(
        f"{name} is a list of {len(holder)}; found {part!r}, expected a position from 0, "
        f"such as {name}.0"
    )


def read(path: Path) -> Located:
    """Read a YAML file."""
    source = str(path)
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        return _unreadable(source, f"the file is larger than {LARGEST} bytes")
    try:
        return parse(data.decode("utf-8-sig"), source, numbered=True)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _unreadable(source, "the text is not UTF-8", line)


def parse(text: str, source: str, *, numbered: bool = False) -> Located:
    """Read YAML text; ``numbered`` adds line and column to each place."""
    yaml = YAML(typ="safe", pure=True)
    yaml.max_depth = DEEPEST
    try:
        root = yaml.compose(text)
        reader = _Reader(yaml, source, numbered, {(): f"{source}:1:1" if numbered else source})
        data = None if root is None else reader.plain(root, ())
    except YAMLError as error:
        message, line, column = _explain(error)
        if not numbered:
            return Located(None, {}, [f"{source}: {message}"])
        return _unreadable(source, message, line, column)
    return Located(data, reader.places, reader.problems)


def _explain(error: YAMLError) -> tuple[str, int, int]:
    """Return what is wrong with the text, and the line and column."""
    if not isinstance(error, MarkedYAMLError):  # a control character, say
        return " ".join(str(error).split()), 1, 1
    message = f"nested deeper than {DEEPEST} levels"
    if not isinstance(error, MaxDepthExceededError):
        message = " ".join(str(error.problem).removeprefix("but ").split())
    return message, error.problem_mark.line + 1, error.problem_mark.column + 1


def _unreadable(source: str, message: str, line: int = 1, column: int = 1) -> Located:
    return Located(None, {}, [f"{source}:{line}:{column}: {message}"])


@dataclass
class _Reader:
    """Turns YAML nodes into plain data, and records the place of each."""

    yaml: YAML
    source: str
    numbered: bool
    places: dict[Key, str]
    problems: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def plain(self, node: Node, key: Key) -> Any:
        if id(node) in self._seen:
            self._report(self.places[key], key, "aliases are not allowed; write the value out")
            return None
        self._seen.add(id(node))
        match node:
            case MappingNode():
                return dict(self._items(node, key))
            case SequenceNode():
                return [self._item(item, (*key, i)) for i, item in enumerate(node.value)]
        return self._scalar(node, key)

    def _item(self, node: Node, key: Key) -> Any:
        # The node of an alias has the place of its anchor.
        seen = id(node) in self._seen
        self.places[key] = self.places[key[:-1]] if seen else self._where(node)
        return self.plain(node, key)

    def _items(self, node: MappingNode, key: Key) -> Iterator[tuple[str, Any]]:
        for name_node, value_node in node.value:
            name = str(name_node.value)
            inner = (*key, name)
            where = self._where(name_node)
            if not isinstance(name_node, ScalarNode):
                self._report(where, key, "a key must be a word")
            elif name == "<<":
                self._report(where, inner, "merge keys are not allowed; write the values out")
            elif inner in self.places:
                self._report(where, inner, f"occurs twice, first at {self.places[inner]}")
            else:
                self.places[inner] = where
                yield name, self.plain(value_node, inner)

    def _scalar(self, node: Node, key: Key) -> Any:
        if not str(node.tag).startswith("tag:yaml.org,2002:"):
            self._report(self._where(node), key, f"the tag {node.tag} is not allowed")
            return None
        try:
            value = self.yaml.constructor.construct_object(node, deep=True)
        except (YAMLError, ValueError, LookupError) as error:  # `!!python/name:os`, `!!bool maybe`
            reason = str(error) if isinstance(error, YAMLError | ValueError) else node.value
            self._report(self._where(node), key, f"cannot be read: {reason}".splitlines()[0])
            return None
        return str(node.value) if isinstance(value, datetime.date | bytes | set) else value

    def _where(self, node: Node) -> str:
        if not self.numbered:
            return self.source
        return f"{self.source}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def _report(self, where: str, key: Key, problem: str) -> None:
        self.problems.append(": ".join(filter(None, [where, ".".join(map(str, key)), problem])))
