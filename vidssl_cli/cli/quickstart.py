"""`vidssl quickstart`: from a folder of videos to their search page, by the other commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli import completion
from vidssl_cli.cli.next_command import announce, quiet, search_of, setting
from vidssl_cli.cli.options import DATA_HELP, Device, Overrides
from vidssl_cli.cli.packing import packed_beside, size_words

if TYPE_CHECKING:
    from vidssl_cli.config.recipe import PretrainRecipe

PLAN = "quickstart.json"
"""File in the folder of a quickstart: its videos, and how long to train on them."""
MOST_PASSES = 400
"""Visits to a video, at most: more of them teach little that is new of a few videos."""
FEW = 10
"""With fewer videos it is said that they teach next to nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(quickstart)


def quickstart(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="VIDEOS", help=DATA_HELP, show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder for everything; by default the name of VIDEOS and .search."
        ),
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="RECIPE", help="Recipe to learn by.", autocompletion=completion.recipe
        ),
    ] = "default",
    minutes: Annotated[
        float,
        typer.Option(
            min=0.01, metavar="N", help="Train about so long at most; few videos need less."
        ),
    ] = 10,
    overrides: Overrides = None,
    device: Device = "auto",
    serve: Annotated[
        bool, typer.Option("--serve/--no-serve", help="Open the search page at the end.")
    ] = True,
) -> None:
    """Learn from your own videos, and open their search page.

    It runs data scan, data pack, pretrain, index and serve, and prints each command before it runs.
    The same quickstart again goes on after an interruption, and adds new videos.
    """
    from vidssl_cli.config.load import load_as
    from vidssl_cli.config.recipe import PretrainRecipe

    chosen = load_as(PretrainRecipe, recipe, overrides or ())
    out = out or Path(f"{packed_beside(source).stem}.search")

    from vidssl_cli.base.console import say
    from vidssl_cli.files.disk_space import require_writable

    require_writable(out)
    plan = _read_plan(out, source, recipe, overrides or [])
    given = context.get_parameter_source("minutes")
    if "settings" in plan and given is not None and given.name == "COMMANDLINE":
        say("--minutes changes nothing any more: how long to train is decided; to train anew, "
            "choose another --out")  # fmt: skip
    scanned, packed, run, index = (
        out / name for name in ("videos.jsonl", "packed", "run", "index")
    )
    on = () if device == "auto" else ("--device", device)

    def step(number: int, what: str, *words: object) -> None:
        announce(number, 5, what, *words)
        program: Any = context.find_root().command
        program.main([*map(str, words)], prog_name="vidssl", standalone_mode=False)

    with quiet(), _goes_on():
        state = _state(run)
        if state in (None, "finished"):  # a run goes on with the videos that it began with
            with _nothing_left(out):
                step(1, "finding out what can be read", "data", "scan", source, "--out", scanned)
            step(
                2, "decoding everything once, into small pictures",
                "data", "pack", scanned, "--out", packed, *size_words(chosen),
            )  # fmt: skip
        if state == "finished":
            say(f"3 of 5: {run} is trained already")
        else:
            if "settings" not in plan:
                length = _length(chosen, packed, out, device, minutes)
                plan["settings"] = [*(overrides or ()), *length]
                _write_plan(out, plan)
            step(
                3, "learning from them, without labels",
                "pretrain", recipe, "--data", packed, "--out", run, *setting(plan["settings"]),
                *on, "--resume",
            )  # fmt: skip
        step(4, "making them searchable", "index", run, "--data", packed, "--out", index, *on)
    last = search_of(index)
    with quiet():
        if serve or last[0] != "serve":
            step(5, "opening the page", *last)
        else:
            announce(5, 5, "to open the page", *last)


@contextmanager
def _nothing_left(out: Path) -> Iterator[None]:
    """Take away the folder if there are no videos, as after a mistyped name."""
    from vidssl_cli.base.errors import UsageError

    try:
        yield
    except UsageError:
        if [path.name for path in out.iterdir()] == [PLAN]:
            (out / PLAN).unlink()
            out.rmdir()
        raise


@contextmanager
def _goes_on() -> Iterator[None]:
    """Say of an interruption that the same command goes on."""
    from vidssl_cli.base.errors import Interrupted, Preempted
    from vidssl_cli.base.signals import Stopped, stopped

    hint = "the same command again goes on from here"
    try:
        yield
    except (Interrupted, Preempted) as error:
        error.hint = hint
        raise
    except Stopped as error:
        raise stopped(error.number, hint=hint) from None


def _read_plan(out: Path, source: str, recipe: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Return what an earlier quickstart in the folder decided.

    Raises:
        UsageError: It was about other videos, or had other settings; or the folder holds other
            things.
    """
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.files.untrusted_text import read_json, understood

    plan: dict[str, Any] = {
        "VIDEOS": str(Path(source).resolve()),
        "--recipe": recipe,
        "--set": [*overrides],
    }
    if not (out / PLAN).is_file():
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is no folder", where=str(out), hint="choose another --out")
        if out.is_dir() and any(out.iterdir()):
            raise UsageError(
                f"{out} is not empty, and holds no quickstart",
                where=str(out),
                hint="choose another --out",
            )
        _write_plan(out, plan)
        return plan
    with understood(out / PLAN):
        found: dict[str, Any] = dict(read_json(out / PLAN))
    for key, value in plan.items():
        if found.get(key) != value:
            raise UsageError(
                f"{out} is a quickstart with {key} {found.get(key)}, not {value}",
                where=str(out / PLAN),
                hint="choose another --out",
            )
    return found


def _write_plan(out: Path, plan: dict[str, Any]) -> None:
    from vidssl_cli.base.escaping import json_text
    from vidssl_cli.files.atomic import atomic_write

    out.mkdir(parents=True, exist_ok=True)
    atomic_write(out / PLAN, json_text(plan, indent=2) + "\n")


def _state(run: Path) -> str | None:
    """Return the state of the run, or None where none has begun."""
    from vidssl_cli.model.run_directory import FACTS, read_facts, state_of

    return state_of(run, read_facts(run)) if (run / FACTS).is_file() else None


def _length(
    recipe: PretrainRecipe, packed: Path, out: Path, device: str, minutes: float
) -> list[str]:
    """Return the settings with which training takes a time that suits machine and videos."""
    from vidssl_cli.base.console import say, warn
    from vidssl_cli.data.manifest import training_part
    from vidssl_cli.data.scan import open_data
    from vidssl_cli.training.pretrain import pretrain
    from vidssl_cli.training.session import Session

    videos = training_part(open_data(str(packed))[0])
    train = recipe.train
    # A batch must be filled, whatever the number of videos.
    repeats = max(train.repeats, ceil(train.batch_videos / max(len(videos), 1)))
    tried = recipe.model_copy(update={"train": train.model_copy(update={"repeats": repeats})})
    say("taking three steps, to see how fast this machine learns from them")
    cost = pretrain(tried, videos, Session(out / "run", device=device, dry_run=True)).cost
    assert cost
    one = cost.seconds / (train.epochs * repeats)
    passes = min(60 * minutes / one, MOST_PASSES)
    settings = length_settings(recipe, cost.videos, passes)
    visits = "less than once" if passes < 1 else f"about {counted(round(passes), 'time')}"
    if cost.videos < FEW:
        warn(
            f"{counted(cost.videos, 'video')} can teach a network next to nothing about what sets "
            "videos apart: from a few dozen on, a search means something"
        )
    say(
        f"a pass over {counted(cost.videos, 'video')} takes {one:.1f} s on {cost.device}: each is "
        f"visited {visits}, in about {passes * one / 60:.1f} minutes"
    )
    return settings


def length_settings(recipe: PretrainRecipe, videos: int, passes: float) -> list[str]:
    """Return the settings by which a recipe visits every video so many times.

    Epochs stay those of the recipe where there is a full batch for each. Of videos that cannot all
    be visited once, a share is taken.
    """
    train = recipe.train
    least = ceil(train.batch_videos / videos)  # or no batch is filled
    if passes < 1:
        share = min(ceil(1 / passes), max(videos // train.batch_videos, 1))
        return ["train.epochs=1", f"train.repeats={least}", f"share=1/{share}"]
    if passes < train.epochs * least:
        return [f"train.epochs={max(int(passes) // least, 1)}", f"train.repeats={least}"]
    return [f"train.repeats={max(round(passes / train.epochs), least)}"]
