"""Plans a sweep: which runs a grid has, and the commands that are left to do for each.

    DIR/RECIPE/KEY=VALUE,…/SEED        a run
    DIR/RECIPE/KEY=VALUE,…/SEED.log    the output of its commands

RECIPE is its name with - for /; the folder of settings is left out where nothing varies.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.cli.sweep_grid import Settings, grid
from vidssl_cli.cli.sweep_state import is_finished, is_measured
from vidssl_cli.config.load import load_as, load_options, names
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import training_part

LONGEST = 120
"""Characters of a folder's name; longer ones end in a digest."""

SEED = "train.seed"
BUDGET = ("train.epochs", "train.repeats")

Command = tuple[str, ...]
"""Words after ``vidssl``."""


@dataclass(frozen=True)
class Protocol:
    """A protocol to measure every run by."""

    name: str
    settings: Settings
    """Its options, KEY=VALUE."""
    options: dict[str, Any]
    """All of them, as reports hold them."""


@dataclass(frozen=True)
class PlannedRun:
    """A run of the grid."""

    recipe: str
    settings: Settings
    """Those in which it differs from others of its recipe, KEY=VALUE."""
    seed: int
    folder: Path
    commands: tuple[Command, ...]
    """What is left to do."""


@dataclass(frozen=True)
class Plan:
    """What a sweep was asked for."""

    data: str
    out: Path
    recipes: Sequence[str]
    overrides: Sequence[str] = ()
    """KEY=VALUE,VALUE…, of recipes."""
    seeds: int = 1
    evaluate: Sequence[str] = ()
    """NAME,NAME… KEY=VALUE,VALUE…, protocols with their options."""
    evaluate_on: str | None = None
    """Other data to evaluate on."""
    clips: int | None = None
    """About how many clips every run is trained on; it then has one epoch."""
    everywhere: Command = ()
    """Options of every command."""
    training: Command = ()
    """Options of the trainings."""

    def runs(self, videos: Callable[[str], Sequence[Video]]) -> list[PlannedRun]:
        """Return the runs of the grid in the order of their commands: seed after seed.

        Args:
            videos: Opens DATA, where its content matters.

        Raises:
            RecipeError: The recipe of a run is wrong; with all problems of all runs.
            UsageError: The grid cannot be understood, or DIR holds other runs.
        """
        chosen = {SEED: "--seeds"} | (dict.fromkeys(BUDGET, "--clips") if self.clips else {})
        for key in (override.partition("=")[0] for override in self.overrides):
            if key in chosen:
                raise UsageError(f"--set {key}: it is set by {chosen[key]}")
        fixed, points = grid(self.overrides)
        protocols = [each for text in self.evaluate for each in _protocols(text)]
        places = _folders(self.recipes)
        asked = [
            (recipe, point, seed)
            for seed in range(self.seeds)
            for recipe in self.recipes
            for point in points
        ]
        folders = [self.out / places[r] / _folder(point) / str(seed) for r, point, seed in asked]
        _refuse_equal(folders)
        settings = [(*fixed, *point, f"{SEED}={seed}") for _, point, seed in asked]
        recipes = _read_all([r for r, *_ in asked], settings)
        if self.clips:
            data = training_part(videos(self.data))
            budgets = [budget(recipe, data, self.clips) for recipe in recipes]
            settings = [(*sets, *more) for sets, more in zip(settings, budgets, strict=True)]
            recipes = _read_all([r for r, *_ in asked], settings)
        runs = []
        for (recipe, point, seed), folder, sets, loaded in zip(
            asked, folders, settings, recipes, strict=True
        ):
            training = () if is_finished(folder, loaded) else (self._train(recipe, folder, sets),)
            on = self.evaluate_on or self.data
            measuring = tuple(
                self._measure(folder, on, each)
                for each in protocols
                if training or not is_measured(folder, each.name, each.options, on, videos)
            )
            runs.append(PlannedRun(recipe, point, seed, folder, training + measuring))
        return runs

    def _train(self, recipe: str, run: Path, settings: Settings) -> Command:
        place = ("--data", self.data, "--out", str(run))
        more = (*self.everywhere, *self.training)
        return ("pretrain", recipe, *place, *_sets(settings), "--resume", *more)

    def _measure(self, run: Path, data: str, protocol: Protocol) -> Command:
        how = ("--evaluator", protocol.name, *_sets(protocol.settings))
        return ("evaluate", str(run), "--data", data, *how, *self.everywhere)


def _protocols(text: str) -> list[Protocol]:
    """Read ``NAME,NAME KEY=VALUE,VALUE``: every name with every point of the grid of options.

    Raises:
        RecipeError, PluginError: There is no such evaluator, or it has no such option.
        UsageError: The grid cannot be understood.
    """
    try:
        first, *overrides = shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"--evaluate {text}: {str(error).lower() or 'names nothing'}",
            hint="such as --evaluate retrieval,linear or --evaluate 'linear tap=pool4,pool5'",
        ) from None
    fixed, points = grid(overrides)
    found = []
    for name in first.split(","):
        for point in points:
            settings = (*fixed, *point)
            options = load_options(EvaluatorOptions, name, settings)
            found.append(Protocol(name, settings, options.model_dump(mode="json")))
    return found


def _read_all(recipes: Sequence[str], settings: Sequence[Settings]) -> list[PretrainRecipe]:
    """Read the recipe of every run; the problems of all are one error."""
    found: list[PretrainRecipe] = []
    failures: list[VidsslError] = []
    for recipe, sets in zip(recipes, settings, strict=True):
        try:
            found.append(load_as(PretrainRecipe, recipe, sets))
        except VidsslError as error:
            failures.append(error)
    if failures:
        worst = max(failures, key=lambda error: error.status)
        problems = list(dict.fromkeys(part for error in failures for part in error.problems))
        raise type(worst)(problems, where=worst.where, hint=worst.hint)
    return found


def budget(recipe: PretrainRecipe, videos: Sequence[Video], clips: int) -> Settings:
    """Return the settings with which a recipe trains on about so many clips, in one epoch."""
    from vidssl_cli.data.frame_rate import build_sampler

    sampler = build_sampler(recipe.sampler, recipe.input)
    usable = [video for video in recipe.taken(videos) if sampler.rejects(video) is None]
    each = sampler.views * sum(sampler.visits(video) for video in usable)
    repeats = max(1, round(clips / each)) if each else 1
    return tuple(f"{key}={value}" for key, value in zip(BUDGET, (1, repeats), strict=True))


def _folders(recipes: Sequence[str]) -> dict[str, str]:
    """Name the folder of each recipe."""
    known = names()
    return {
        recipe: recipe.replace("/", "-") if recipe in known else Path(recipe).stem
        for recipe in recipes
    }


def _folder(point: Sequence[str]) -> str:
    """Name the folder of a point of the grid, in characters that need no quotes in a shell."""
    text = ",".join(point)
    name = re.sub(r"[^\w.,=+-]", "-", text)
    if len(name) > LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST - 9]}-{digest}"
    return name


def _refuse_equal(folders: Sequence[Path]) -> None:
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UsageError(
                f"two runs of the grid would be {folder}",
                hint="give every recipe and every value once, and recipes names of their own",
            )


def _sets(settings: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))
