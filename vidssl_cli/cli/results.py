"""`vidssl runs` and `vidssl report`: lists and compares runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.next_command import say_next
from vidssl_cli.cli.options import AsJson, OverwritePage, refuse_page


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(runs)
    app.command()(report)


def runs(
    places: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR", help="Folders to search; by default the working directory."),
    ] = None,
    sort: Annotated[
        str, typer.Option(help="run, state, epoch, loss, age, or an evaluator (best first).")
    ] = "run",
    as_json: AsJson = False,
) -> None:
    """List runs with their state and best figures.

    A run whose process ended unexpectedly is `stopped`; --resume continues it.
    """
    from datetime import UTC, datetime

    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.evaluation.run_list import lines, standings
    from vidssl_cli.evaluation.run_list import sort as in_order

    looked = places or [Path()]
    found = in_order(standings(looked), sort)
    if as_json:
        emit_json({"runs": [standing.as_document() for standing in found]})
    elif not found:
        say(f"there is no run in {', '.join(map(str, looked))}")
    else:
        for line in lines(found, datetime.now(UTC)):
            emit(line)
        say_next(as_json, "report", *looked)


def report(
    places: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Runs, exported models, or folders of them.", show_default=False
        ),
    ],
    out: Annotated[Path | None, typer.Option(metavar="PAGE", help="Page to write (.html).")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables in Markdown.")
    ] = False,
    latex: Annotated[
        bool, typer.Option("--latex", help="Print the tables in LaTeX, for the package booktabs.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print every figure of every run, one per line.")
    ] = False,
    overwrite: OverwritePage = False,
    as_json: AsJson = False,
) -> None:
    """Compare the evaluations of runs.

    Runs that differ only in the seed are one line: mean and standard error. --out PAGE writes
    tables, curves, galleries, recipes and commands into one HTML file.
    """
    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.base.wording import counted
    from vidssl_cli.evaluation import tables
    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import boards, grouped

    formats = [
        *([tables.markdown] if markdown else []),
        *([tables.latex] if latex else []),
        *([tables.comma_separated] if csv else []),
    ]
    if len(formats) + as_json > 1:
        raise UsageError("give one of --markdown, --latex, --csv and --json")
    if out:
        refuse_page(out, overwrite)
    folders = dict.fromkeys(folder for place in places for folder in _runs_at(place))
    groups = grouped(map(Record.read, folders))
    found = boards(groups)
    if out:
        from vidssl_cli.pages.report import write_report

        write_report(out, groups, found)
    if as_json:
        rows = [
            {"name": group.name, "runs": [str(record.folder) for record in group.records]}
            for group in groups
        ]
        evaluations = [board.as_document() for board in found]
        page = None if out is None else str(out)
        emit_json({"page": page, "recipes": rows, "evaluations": evaluations})
    elif formats:
        emit(formats[0](found).removesuffix("\n"), lines=True)
    elif out:
        emit(str(out))
    elif found:
        tables.show(found)
        say_next(as_json, "report", *places, "--out", "report.html")
    else:
        say(
            f"no evaluation yet of {counted(len(folders), 'run')}: `vidssl evaluate RUN --data "
            "DATA --evaluator retrieval` makes one"
        )


def _runs_at(place: Path) -> list[Path]:
    """Return a run, or the runs in a folder."""
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.evaluation.records import find_runs

    found = list(find_runs([place], models=True))
    if not found:
        raise UsageError(
            f"{place} is not a run, and there is none in it",
            where=str(place),
            hint="give a folder that --out named in `vidssl pretrain` or `vidssl sweep`",
        )
    return found
