"""Finds recipes by name, reads and checks them, and writes them with every key."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import PluginError, RecipeError, UsageError
from vidssl_cli.config import yaml_source
from vidssl_cli.config.problems import any_of, describe, names_unknown_plugin, nearest
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe, Recipe
from vidssl_cli.contract.entry_points import OURS
from vidssl_cli.contract.hooks import Options
from vidssl_cli.contract.loading import BASES
from vidssl_cli.contract.registry import offered, registry

RecipeT = TypeVar("RecipeT", bound=Recipe)
OptionsT = TypeVar("OptionsT", bound=Options)
T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

KINDS: Mapping[str, type[PretrainRecipe] | type[FinetuneRecipe]] = {
    "pretrain": PretrainRecipe,
    "finetune": FinetuneRecipe,
}
"""Recipes by ``task``, which is also the command that takes them."""

SUFFIX = ".yaml"

RESOLVED = "# Every key of a recipe, resolved by vidssl"
"""How a file begins that `resolved_yaml` has written."""


@functools.cache
def shipped() -> Path:
    """Return the folder of vidssl's own recipes."""
    package = Path(__file__).parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def names() -> dict[str, Path]:
    """Map the name of every known recipe to its file; vidssl's own win over others."""
    known: dict[str, Path] = {}
    for folder in [shipped(), *registry().recipe_folders]:
        for file in sorted(folder.rglob(f"*{SUFFIX}")):
            known.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    return known


def find(name_or_path: str | Path) -> Path:
    """Return the file of a recipe that is given by name or by path.

    Raises:
        UsageError: if there is neither, with the nearest name.
    """
    known = names()
    if (name := str(name_or_path)) in known:
        return known[name]
    if (path := Path(name_or_path)).is_file():
        return path
    raise UsageError(
        f"no recipe is named {name!r}, and there is no such file{nearest(name, known)}",
        where=name,
        hint="`vidssl recipes list` shows the names",
    )


def load(
    name_or_path: str | Path, overrides: Iterable[str] = ()
) -> PretrainRecipe | FinetuneRecipe:
    """Read a recipe of whichever task the file names, pre-training if it names none.

    Raises:
        RecipeError: with every problem, each located.
        PluginError: the same, where a plugin is missing that a broken package may have offered.
        UsageError: if there is no such recipe.
    """
    document = _read(name_or_path, overrides)
    task = document.data.get("task", "pretrain")
    if not isinstance(task, str) or task not in KINDS:
        expected = " or ".join(map(repr, KINDS))
        problem = f"task: found {task!r}, expected {expected}{nearest(task, KINDS)}"
        document.problems.append(f"{document.place(('task',))}: {problem}")
        raise RecipeError(document.problems, where=_source(document))
    return _check(KINDS[task], document)


def load_as(
    kind: type[RecipeT], name_or_path: str | Path, overrides: Iterable[str] = ()
) -> RecipeT:
    """Read a recipe for one task; raises like `load`."""
    document = _read(name_or_path, overrides)
    task = document.data.get("task", "pretrain")
    if isinstance(task, str) and KINDS.get(task, kind) is not kind:
        where = document.place(("task",))
        raise RecipeError(
            f"{where}: task: this recipe is for `vidssl {task}`", where=_source(document)
        )
    return _check(kind, document)


def load_options(base: type[OptionsT], name: str, overrides: Iterable[str] = ()) -> OptionsT:
    """Choose a plugin of one kind by name, with ``key=value`` options; raises like `load`.

    Args:
        base: what the plugins of this kind derive from, such as `hooks.EvaluatorOptions`.
        name: the plugin, as a recipe would write it.
        overrides: its options.
    """
    kind = next(kind for kind, each in BASES.items() if each is base)
    document = yaml_source.Located({"name": name}, {(): f"--{kind} {name}"})
    for override in overrides:
        document.override(override)
    models = offered(kind)
    if name in models:
        return cast("OptionsT", _check(models[name], document))
    expected = f"expected {any_of(list(models))}{nearest(name, models)}"
    raise _refusal([f"--{kind} {name}: found {name!r}, {expected}"], document, missing=True)


def read_model(kind: type[T], path: Path) -> T:
    """Read a YAML file that is no recipe, as what pydantic can check.

    Raises:
        RecipeError: with every problem, each located.
    """
    document = yaml_source.read(path)
    problems = list(document.problems)
    if problems:  # what cannot be read has no places to name
        raise RecipeError(problems, where=str(path))
    try:
        model = TypeAdapter(kind).validate_python(document.data)
    except ValidationError as invalid:
        problems += [
            f"{document.place(error['loc'])}: {'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in invalid.errors(include_url=False)
        ]
    if problems:
        raise RecipeError(problems, where=str(path))
    return model


@contextmanager
def tolerated(package: str, file: Path) -> Iterator[None]:
    """Leave out a file that cannot be used, with a warning, if it is of another package."""
    try:
        yield
    except Exception as error:
        if package == OURS:
            raise
        warn(f"{file} of {package} is left out: {error}")


class _Schema(GenerateJsonSchema):
    """Accepts anything where JSON Schema has no type, such as an option that is a function."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


def json_schema(task: str) -> dict[str, Any]:
    """Return the JSON Schema of the recipes of a task."""
    return KINDS[task].model_json_schema(schema_generator=_Schema)


def opening_comment(name_or_path: str | Path) -> list[str]:
    """Return the lines of the comment that a recipe's file begins with."""
    lines = find(name_or_path).read_text(encoding="utf-8-sig").splitlines()
    return list(takewhile(lambda line: line.startswith("#") and RESOLVED not in line, lines))


def resolved_yaml(recipe: Recipe) -> str:
    """Return a recipe with every key, as YAML that is itself a recipe."""
    from importlib.metadata import version

    yaml = YAML()
    yaml.width = 100
    yaml.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    text = io.StringIO()
    text.write(f"{RESOLVED} {version('vidssl')}.\n")
    yaml.dump(_ordered(document(recipe)), text)
    return text.getvalue()


def document(recipe: Recipe) -> dict[str, Any]:
    """Return every key of a recipe as plain values; keys of its task come first."""
    values = recipe.model_dump(mode="json")
    for shared in Recipe.model_fields:
        values[shared] = values.pop(shared)
    return {"task": None, "summary": None} | values


def _read(name_or_path: str | Path, overrides: Iterable[str]) -> yaml_source.Located:
    """Read a file and apply overrides; the result is a mapping, perhaps with problems."""
    path = find(name_or_path)
    document = yaml_source.read(path)
    if not document.problems and not isinstance(document.data, dict):
        document.problems.append(f"{path}:1:1: found no keys, expected a mapping of keys to values")
    if document.data is None or not isinstance(document.data, dict):
        raise RecipeError(document.problems, where=str(path))
    for override in overrides:
        document.override(override)
    return document


def _check(kind: type[ModelT], document: yaml_source.Located) -> ModelT:
    """Validate; report the problems of the text, of the overrides and of the values together."""
    problems = list(document.problems)
    missing = False
    try:
        recipe = kind.model_validate(document.data)
    except ValidationError as invalid:
        missing = names_unknown_plugin(invalid)
        unreadable = {problem.split(": ", 1)[0] for problem in problems}
        problems += [
            line
            for line in describe(kind, invalid, document)
            if line.split(": ", 1)[0] not in unreadable  # its value could not be read
        ]
    if problems:
        raise _refusal(problems, document, missing)
    return recipe


def _refusal(
    problems: Sequence[str], document: yaml_source.Located, missing: bool
) -> RecipeError | PluginError:
    """Return the error to raise: of a plugin, if that may be in a package that did not load."""
    where = _source(document)
    if missing and (absent := registry().absent()):
        reasons = "; ".join(map(str, absent))
        return PluginError(problems, where=where, hint=f"some plugins are not loaded: {reasons}")
    return RecipeError(problems, where=where)


def _source(document: yaml_source.Located) -> str:
    """Return the file."""
    return document.places[()].removesuffix(":1:1")


def _ordered(value: Any) -> Any:
    """Put names first, and lists of plain values on one line."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=lambda key: key != "name")}
    if not isinstance(value, list):
        return value
    items = CommentedSeq(map(_ordered, value))
    if not any(isinstance(item, dict | list) for item in value):
        items.fa.set_flow_style()
    return items
