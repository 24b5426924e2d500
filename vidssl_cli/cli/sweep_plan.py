"""`vidssl sweep`: a grid of runs as commands that one could have typed, and what is left of them.

    DIR/RECIPE/KEY=VALUE,…/SEED        the run of one member of the grid
    DIR/RECIPE/KEY=VALUE,…/SEED.log    what its commands said

RECIPE is its name with - for /; the folder of settings is left out where nothing varies.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.base.signals import stopped
from vidssl_cli.cli.sweep_grid import Settings, grid
from vidssl_cli.cli.sweep_jobs import Crew, Ended, Job, shared_cores
from vidssl_cli.config.load import load, load_as, load_options, names
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import digest, training_part
from vidssl_cli.evaluation.records import evaluation_files, read_evaluation
from vidssl_cli.model import run_directory

LONGEST = 120
"""Characters of a folder's name; longer ones end in a digest."""

SEED = "train.seed"
BUDGET = ("train.epochs", "train.repeats")

Command = tuple[str, ...]
"""Words after ``vidssl``."""


@dataclass(frozen=True)
class Protocol:
    """One thing to measure of every run."""

    name: str
    settings: Settings
    """Its options, KEY=VALUE."""
    options: dict[str, Any]
    """All of them, as its report holds them."""


@dataclass(frozen=True)
class Member:
    """One run of the grid."""

    recipe: str
    settings: Settings
    """What sets it apart from others of its recipe, KEY=VALUE."""
    seed: int
    run: Path
    commands: tuple[Command, ...]
    """What is left to do."""


@dataclass(frozen=True)
class Plan:
    """What is asked for; none of it has been begun."""

    data: str
    out: Path
    recipes: Sequence[str]
    overrides: Sequence[str] = ()
    """KEY=VALUE,VALUE…, of recipes."""
    seeds: int = 1
    evaluate: Sequence[str] = ()
    """NAME,NAME… KEY=VALUE,VALUE…, protocols with their options."""
    evaluate_on: str | None = None
    """Other data to measure on."""
    clips: int | None = None
    """About how many clips every run learns from; it then has one epoch."""
    everywhere: Command = ()
    """Options of every command."""
    training: Command = ()
    """Options of the trainings."""

    def members(self, videos: Callable[[str], Sequence[Video]]) -> list[Member]:
        """Return the members of the grid in the order of their commands: seed after seed.

        Args:
            videos: Opens DATA, where it matters what is in it.

        Raises:
            RecipeError: Members are not recipes that can run; with all problems of all members.
            UsageError: The grid cannot be understood, or DIR holds other runs.
        """
        chosen = {SEED: "--seeds"} | (dict.fromkeys(BUDGET, "--clips") if self.clips else {})
        for key in (override.partition("=")[0] for override in self.overrides):
            if key in chosen:
                raise UsageError(f"--set {key}: it is what {chosen[key]} chooses")
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
        _refuse_twins(folders)
        settings = [(*fixed, *point, f"{SEED}={seed}") for _, point, seed in asked]
        recipes = _read_all([r for r, *_ in asked], settings)
        if self.clips:
            data = training_part(videos(self.data))
            budgets = [budget(recipe, data, self.clips) for recipe in recipes]
            settings = [(*sets, *more) for sets, more in zip(settings, budgets, strict=True)]
            recipes = _read_all([r for r, *_ in asked], settings)
        members = []
        for (recipe, point, seed), run, sets, loaded in zip(
            asked, folders, settings, recipes, strict=True
        ):
            training = () if _is_finished(run, loaded) else (self._train(recipe, run, sets),)
            on = self.evaluate_on or self.data
            measuring = tuple(
                self._measure(run, on, protocol)
                for protocol in protocols
                if training or not _is_measured(run, protocol, on, videos)
            )
            members.append(Member(recipe, point, seed, run, training + measuring))
        return members

    def _train(self, recipe: str, run: Path, settings: Settings) -> Command:
        place = ("--data", self.data, "--out", str(run))
        more = (*self.everywhere, *self.training)
        return ("pretrain", recipe, *place, *_sets(settings), "--resume", *more)

    def _measure(self, run: Path, data: str, protocol: Protocol) -> Command:
        how = ("--evaluator", protocol.name, *_sets(protocol.settings))
        return ("evaluate", str(run), "--data", data, *how, *self.everywhere)


def line(member: Member) -> str:
    """Return what is left of a member as one line for a shell."""
    return " && ".join(shlex.join(("vidssl", *command)) for command in member.commands)


def carry_out(
    members: Sequence[Member], at_once: int, program: Command = (sys.executable, "-m", "vidssl_cli")
) -> dict[Path, int]:
    """Do what is left of the members, some at a time; one that fails does not keep the others.

    Args:
        members: Of a plan.
        at_once: How many at a time; they share the cores.
        program: What ``vidssl`` stands for.

    Returns:
        The exit status of every run that something was left of.

    Raises:
        Preempted, Interrupted: A signal arrived, and was passed on to the members.
    """
    jobs = [
        Job(str(m.run), [[*program, *command] for command in m.commands], m.run.with_suffix(".log"))
        for m in members
        if m.commands
    ]
    say(f"{len(members)} members, {len(jobs)} of them not done; {at_once} at a time")
    crew = Crew(at_once, shared_cores(at_once))
    count = itertools.count(1)

    def tell(ended: Ended) -> None:
        if ended.status == 0:
            say(f"{next(count)} of {len(jobs)}: {ended.job.name}, {ended.seconds:.0f} s")
        elif not crew.received:
            reason = f"ended with status {ended.status}: {_last_line(ended.job.log)}"
            warn(f"{next(count)} of {len(jobs)}: {ended.job.name} {reason}; see {ended.job.log}")

    found = crew.work(jobs, tell)
    if crew.received:
        done = sum(ended.status == 0 for ended in found)
        what = f"after {done} of {len(jobs)} members"
        raise stopped(crew.received, what, hint="the same command again goes on")
    return {Path(ended.job.name): ended.status or 0 for ended in found}


def _last_line(log: Path) -> str:
    """Return the last thing that was said, but for hints."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if line.strip() and not line.startswith("hint: ")]
    return told[-1] if told else "it said nothing"


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
    """Read the recipe of every member; all that are wrong are told at once."""
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
    """Return the settings with which a recipe shows about so many clips, in one epoch."""
    from vidssl_cli.data.frame_rate import build_sampler

    sampler = build_sampler(recipe.sampler, recipe.input)
    usable = [video for video in recipe.taken(videos) if sampler.rejects(video) is None]
    each = sampler.views * sum(sampler.visits(video) for video in usable)
    repeats = max(1, round(clips / each)) if each else 1
    return tuple(f"{key}={value}" for key, value in zip(BUDGET, (1, repeats), strict=True))


def _is_finished(run: Path, asked: PretrainRecipe) -> bool:
    """Tell whether a run is done.

    Raises:
        UsageError: There is another run.
    """
    if not (run / run_directory.FACTS).is_file():
        return False
    if load(run_directory.intact(run, run_directory.RECIPE)) != asked:
        raise UsageError(
            f"{run} was made by another recipe, or with other settings",
            where=str(run / run_directory.RECIPE),
            hint="choose another --out, or give the settings that the runs there have",
        )
    return run_directory.state_of(run, run_directory.read_facts(run)) == "finished"


def _is_measured(
    run: Path, protocol: Protocol, data: str, videos: Callable[[str], Sequence[Video]]
) -> bool:
    """Tell whether a run has a report of its last checkpoint by a protocol on these data."""
    last = run_directory.trained(run, "last")
    for path in evaluation_files(run):
        with suppress(DamagedFileError):  # it is made again
            found = read_evaluation(path)
            asked = (protocol.name, protocol.options, "last", last)
            if (found.evaluator, found.options, found.checkpoint, found.trained) == asked and (
                found.data == digest(videos(data))
            ):
                return True
    return False


def _folders(recipes: Sequence[str]) -> dict[str, str]:
    """Name the folder of each recipe."""
    known = names()
    return {
        recipe: recipe.replace("/", "-") if recipe in known else Path(recipe).stem
        for recipe in recipes
    }


def _folder(point: Sequence[str]) -> str:
    """Name the folder of a point of the grid, in letters that shells leave alone."""
    text = ",".join(point)
    name = re.sub(r"[^\w.,=+-]", "-", text)
    if len(name) > LONGEST:
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        name = f"{name[: LONGEST - 9]}-{digest}"
    return name


def _refuse_twins(folders: Sequence[Path]) -> None:
    for place, folder in enumerate(folders):
        if folder in folders[:place]:
            raise UsageError(
                f"two members of the grid would be {folder}",
                hint="give every recipe and every value once, and recipes names of their own",
            )


def _sets(settings: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))
