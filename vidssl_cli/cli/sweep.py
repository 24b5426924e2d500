"""`vidssl sweep`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidssl_cli.base.wording import share
from vidssl_cli.cli import completion
from vidssl_cli.cli.next_command import say_next
from vidssl_cli.cli.options import AsJson, Data, DataOptions, Device, expand

if TYPE_CHECKING:
    from vidssl_cli.cli.sweep_plan import PlannedRun


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expand(sweep))


def sweep(
    recipes: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE",
            help="Names or files.",
            show_default=False,
            autocompletion=completion.recipe,
        ),
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs.")],
    *,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE,VALUE",
            help="Values to try; [1,2] is one. Repeatable, for all combinations.",
            autocompletion=completion.setting,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, from 0.")] = 1,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="About how many clips a run trains on; sets train.repeats."),
    ] = None,
    evaluators: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluate",
            metavar="NAME,NAME",
            help="Protocols, with options: 'linear tap=pool4,pool5'. Repeatable.",
            autocompletion=completion.evaluator,
        ),
    ] = None,
    evaluate_on: Annotated[
        str | None, typer.Option(metavar="DATA", help="Evaluate on other data than --data.")
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(min=1, help="Runs at a time; they share the cores, and each has a GPU."),
    ] = 1,
    printed: Annotated[
        bool,
        typer.Option(
            "--print", help="Print the commands that are left, one line per run; run nothing."
        ),
    ] = False,
    reading: DataOptions,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding threads of each run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pretrain and evaluate a grid of recipes, settings and seeds.

    Runs that are done are skipped, interrupted ones continue, and one that fails does not stop
    the others. A run is DIR/RECIPE/KEY=VALUE/SEED, and its output is in SEED.log.
    """
    from functools import cache

    from vidssl_cli.cli.sweep_jobs import visible_gpus
    from vidssl_cli.cli.sweep_plan import Plan
    from vidssl_cli.cli.sweep_run import run_jobs, shell_line

    everywhere = (*reading.as_words(), *(("--device", device) if device != "auto" else ()))
    plan = Plan(
        data,
        out,
        recipes,
        overrides or (),
        seeds,
        evaluators or (),
        evaluate_on,
        clips,
        everywhere,
        () if workers is None else ("--workers", str(workers)),
    )
    runs = plan.runs(cache(lambda source: reading.open(source)[0]))
    _require_videos(data, evaluate_on or data, reading, evaluate=bool(evaluators))

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.files.locks import locked

    lines = [shell_line(run) for run in runs if run.commands]
    if printed:
        if as_json:
            emit_json({"commands": lines})
        for each in () if as_json else lines:
            emit(each)
        return
    # A GPU that --device names is that of all.
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    with locked(out, "vidssl sweep"):
        statuses = run_jobs(runs, jobs, gpus)
    _show(out, runs, statuses, as_json)


def _require_videos(train: str, test: str, reading: DataOptions, *, evaluate: bool) -> None:
    """Refuse DATA without videos, and warn of DATA without splits, before any run does."""
    from vidssl_cli.base.console import warn
    from vidssl_cli.data.layouts import find_videos
    from vidssl_cli.data.lists import Lists
    from vidssl_cli.files.confine import Root

    root = Root(reading.data_root) if reading.data_root else None
    lists = Lists(reading.split)
    found = {source: find_videos(source, lists, root) for source in dict.fromkeys((train, test))}
    parts = {video.split for video in found[test] if video.label is not None}
    if evaluate and not parts >= {"train", "test"}:
        warn(
            f"most evaluators need labelled videos of the splits train and test, which {test} does "
            "not have; `vidssl data scan --hold-out 0.2` makes a manifest with splits"
        )


def _show(out: Path, runs: Sequence[PlannedRun], statuses: dict[Path, int], as_json: bool) -> None:
    """Print what was measured, and fail if a run did."""
    from vidssl_cli.base.console import emit_json
    from vidssl_cli.base.errors import VidsslError
    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import boards, grouped
    from vidssl_cli.evaluation.tables import show

    trained = [run.folder for run in runs if (run.folder / "run.json").is_file()]
    found = boards(grouped(Record.read(folder) for folder in trained))
    if as_json:
        rows = [
            {
                "run": str(run.folder),
                "recipe": run.recipe,
                "settings": list(run.settings),
                "seed": run.seed,
                "status": statuses.get(run.folder, 0),
            }
            for run in runs
        ]
        evaluations = [board.as_document() for board in found]
        emit_json({"out": str(out), "members": rows, "evaluations": evaluations})
    else:
        show(found)
    failed = [folder for folder, status in statuses.items() if status]
    if failed:
        raise VidsslError(
            f"{share(len(failed), len(runs), 'run')} failed, the first: {failed[0]}",
            where=str(failed[0].with_suffix(".log")),
            hint="give the same command again to do what is left",
        )
    say_next(as_json, "report", out, "--out", out.with_name(f"{out.name}.html"))
