"""`vidssl` commands in pages and in the headers of recipes, checked without being run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from vidssl_cli.cli import app
from vidssl_cli.config.load import find, load, load_as, load_options
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.contract.hooks import EvaluatorOptions

PROGRAM: Any = typer.main.get_command(app)
TASKS = {"pretrain": PretrainRecipe, "finetune": FinetuneRecipe}


@dataclass(frozen=True)
class Command:
    """What a command line asks for."""

    words: list[str]
    name: str
    """``evaluate``, ``data pack``."""
    given: Mapping[str, Any]
    """Arguments and options, by the names of the function's parameters."""

    @property
    def overrides(self) -> list[str]:
        return list(self.given.get("overrides") or ())


def header(name: str) -> list[str]:
    """Return the commands of a recipe's opening comment."""
    comment = find(name).read_text(encoding="utf-8").partition("\nsummary:")[0]
    lines = re.sub(r"\\\n#\s+", "", comment).splitlines()
    return [line[4:] for line in lines if line.startswith("#   vidssl ")]


def parse(line: str) -> Command:
    """Let the command line program read a command; an option it does not have is an error."""
    words = shlex.split(line)[1:]
    command, name, rest = PROGRAM, [], words
    while commands := getattr(command, "commands", None):
        command, name, rest = commands[rest[0]], [*name, rest[0]], rest[1:]
    return Command(words, " ".join(name), command.make_context(name[-1], list(rest)).params)


def classifier(command: Command, backbone: str = "") -> FinetuneRecipe | None:
    """Return the recipe by which a command trains a classifier on a backbone, if it does."""
    if command.name == "finetune":
        return load_as(FinetuneRecipe, command.given["recipe"], command.overrides)
    if command.name == "evaluate" and command.given["evaluator"] == "finetune":
        options: Any = protocol(command)
        recipe = options.build().protocol.recipe_for(backbone)
        return load_as(FinetuneRecipe, recipe, options.set)
    return None


def protocol(command: Command) -> EvaluatorOptions:
    """Return the options of a protocol."""
    return load_options(EvaluatorOptions, command.given["evaluator"], command.overrides)


def check(command: Command) -> None:
    """Resolve the recipes that a command names, and every override, or raise."""
    if command.name in TASKS:
        load_as(TASKS[command.name], command.given["recipe"], command.overrides)
    elif command.name == "evaluate":
        protocol(command)
        classifier(command)
    elif "recipe" in command.given:
        load(command.given["recipe"], command.overrides)


def runs(commands: Iterable[Command]) -> dict[str, str]:
    """Map every run that commands write to the recipe of the backbone in it."""
    found: dict[str, str] = {}
    for command in commands:
        if command.name == "pretrain":
            found[str(command.given["out"])] = command.given["recipe"]
        elif command.name == "finetune":
            source = str(command.given["source"])
            found[str(command.given["out"])] = found.get(source, source)
    return found
