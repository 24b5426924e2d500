"""`vidssl sweep`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidssl_cli.cli.options import AsJson, Data, DataRoot, Device, Split

if TYPE_CHECKING:
    from vidssl_cli.cli.sweep_plan import Member
    from vidssl_cli.contract.videos import Video


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sweep)


def sweep(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE", help="Names or files.", show_default=False)
    ],
    data: Data,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the runs.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE,VALUE",
            help="Every value in turn; [1,2] is one value. Repeatable: all with all.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each, from 0.")] = 1,
    clips: Annotated[
        int | None,
        typer.Option(min=1, help="Clips that each learns from, about; sets train.repeats."),
    ] = None,
    evaluators: Annotated[
        list[str] | None,
        typer.Option(
            "--evaluate",
            metavar="NAME,NAME",
            help="Protocols, with options: 'linear tap=pool4,pool5'. Repeatable.",
        ),
    ] = None,
    evaluate_on: Annotated[
        str | None, typer.Option(metavar="DATA", help="Evaluate on other data than --data.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Members at a time.")] = 1,
    printed: Annotated[
        bool, typer.Option("--print", help="Print what is left to do, a line each; run nothing.")
    ] = False,
    split: Split = 1,
    data_root: DataRoot = None,
    device: Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Decoding threads of each training.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Pretrain and evaluate a grid of recipes, settings and seeds.

    What is done is skipped, what was interrupted goes on, and one that fails does not keep the
    others. Runs are DIR/RECIPE/KEY=VALUE/SEED, with what they said in SEED.log.
    """
    from vidssl_cli.cli.sweep_plan import Plan, carry_out, line

    everywhere = (
        *(("--split", str(split)) if split != 1 else ()),
        *(("--data-root", str(data_root)) if data_root else ()),
        *(("--device", device) if device != "auto" else ()),
    )
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
    members = plan.members(_opener(split, data_root))
    _look_for([data, *([evaluate_on] if evaluate_on else [])], split, data_root)

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.files.locks import locked

    lines = [line(member) for member in members if member.commands]
    if printed:
        if as_json:
            emit_json({"commands": lines})
        for each in () if as_json else lines:
            emit(each)
        return
    with locked(out, "vidssl sweep"):
        statuses = carry_out(members, jobs)
    _show(out, members, statuses, as_json)


def _opener(split: int, data_root: Path | None) -> Callable[[str], Sequence[Video]]:
    """Return a function that opens DATA, once each."""
    from functools import cache

    @cache
    def opened(data: str) -> Sequence[Video]:
        from vidssl_cli.data.scan import open_data

        return open_data(data, split=split, root=data_root)[0]

    return opened


def _look_for(data: Sequence[str], split: int, data_root: Path | None) -> None:
    """Refuse DATA in which there is nothing, before any member does."""
    from vidssl_cli.data.layouts import find_videos
    from vidssl_cli.data.lists import Lists
    from vidssl_cli.files.confine import Root

    for source in data:
        find_videos(source, Lists(split), Root(data_root) if data_root else None)


def _show(out: Path, members: Sequence[Member], statuses: dict[Path, int], as_json: bool) -> None:
    """Print what was measured, and fail if a member did."""
    from vidssl_cli.base.console import emit_json
    from vidssl_cli.base.errors import VidsslError
    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import boards, grouped
    from vidssl_cli.evaluation.tables import show

    trained = [member.run for member in members if (member.run / "run.json").is_file()]
    found = boards(grouped(Record.read(run) for run in trained))
    if as_json:
        rows = [
            {
                "run": str(member.run),
                "recipe": member.recipe,
                "settings": list(member.settings),
                "seed": member.seed,
                "status": statuses.get(member.run, 0),
            }
            for member in members
        ]
        evaluations = [board.as_document() for board in found]
        emit_json({"out": str(out), "members": rows, "evaluations": evaluations})
    else:
        show(found)
    failed = [run for run, status in statuses.items() if status]
    if failed:
        raise VidsslError(
            f"{len(failed)} of {len(members)} members failed, the first: {failed[0]}",
            where=str(failed[0].with_suffix(".log")),
            hint="the same command again does what is left",
        )
