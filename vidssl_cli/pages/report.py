"""The page of `vidssl report`: results of runs, how they were trained, and how to repeat it."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.contract.reports import Confusion, Curves, Table
from vidssl_cli.evaluation.scoreboard import FEW
from vidssl_cli.evaluation.tables import cells
from vidssl_cli.model.run_directory import read_rows
from vidssl_cli.pages import charts
from vidssl_cli.pages.class_gains import class_gains
from vidssl_cli.pages.curves import mean_line, training_curves
from vidssl_cli.pages.html import write_page
from vidssl_cli.pages.report_galleries import galleries
from vidssl_cli.pages.report_recipes import differences, shown_recipe

if TYPE_CHECKING:
    from markupsafe import Markup

    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import Board, Group
    from vidssl_cli.evaluation.stored_reports import Evaluation

Points = Sequence[tuple[float, float]]
"""(x, y) of a line."""
Drawn = tuple[Points, Points | None]
"""A line and its band, (lowest, highest) at each point."""


@dataclass(frozen=True)
class RunResults:
    """What one protocol found about one run, besides its figures."""

    name: str
    seed: int | None
    tables: Sequence[Table]
    confusions: Sequence[Markup]


@dataclass(frozen=True)
class ProtocolResults:
    """What one protocol found."""

    table: Table
    marks: Sequence[str]
    """Style class of each row of the table."""
    notes: Sequence[str]
    published: Table | None
    """All published rows, where the table has only some."""
    facts: str
    """Settings that all runs share."""
    charts: Sequence[Markup]
    every_run: Table
    runs: Sequence[RunResults]


def write_report(path: Path, groups: Sequence[Group], found: Sequence[Board]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        groups: The runs.
        found: Their results.
    """
    records = [record for group in groups for record in group.records]
    count = f"{len(records)} run{'s' * (len(records) != 1)}"
    write_page(
        path,
        "report.html",
        title=groups[0].name if len(groups) == 1 else f"{len(groups)} recipes side by side",
        subtitle=f"{count}, {_seeds(groups)}; written by vidssl {version('vidssl')}",
        protocols=[_protocol(board) for board in found],
        runs=_runs(groups),
        curves=[charts.curves(figure) for figure in training_curves(groups)],
        skipped=_skipped(records),
        galleries=[gallery for board in found for gallery in galleries(board)],
        differences=differences({group.name: group.recipe for group in groups}),
        recipes=[shown_recipe(group) for group in groups],
        environment=_environment(records),
        commands=_commands(records, found),
    )


def _seeds(groups: Sequence[Group]) -> str:
    if len(groups) == len(groups[0].records) == 1:
        return f"seed {groups[0].records[0].seed}"
    counts = sorted({len(group.records) for group in groups})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed{'s' * (span != '1')} each"


def _protocol(board: Board) -> ProtocolResults:
    facts = {
        key: value
        for key, value in board.evaluation.facts.items()
        if all(each.facts.get(key) == value for *_, each in board.found)
    }
    return ProtocolResults(
        Table(board.title, ["", *board.metrics, "seeds"], cells(board)),
        _marks(board),
        board.notes,
        _all_published(board) if board.published[FEW:] else None,
        " · ".join(f"{key} {value}" for key, value in facts.items()),
        [charts.curves(figure) for figure in _merged_curves(board)] + class_gains(board),
        _every_run(board),
        [_run_results(*found) for found in board.found],
    )


def _marks(board: Board) -> list[str]:
    """Mark the best of several runs by the leading metric, and the published rows.

    Runs that are best to what the table shows share the mark, unless that is all of them.
    """
    leading = next(iter(board.metrics), "")
    means = [
        round(line.figures[leading].mean, 3) if line.is_run and leading in line.figures else None
        for line in board.lines
    ]
    known = [mean for mean in means if mean is not None]
    differ = len(set(known)) > 1
    ours = ["best" if differ and mean == max(known) else "" for mean in means]
    return ours + ["paper"] * len(board.published[:FEW])


def _all_published(board: Board) -> Table:
    rows = [
        [
            row.name,
            *(_percent(row.figures.get(metric)) for metric in board.metrics),
            row.source,
            "; ".join(row.differs),
        ]
        for row in board.published
    ]
    columns = ["", *board.metrics, "source", "differs"]
    return Table(f"all {len(rows)} published rows", columns, rows)


def _every_run(board: Board) -> Table:
    rows = [
        [group.name, record.seed, *(_percent(each.figure("run", m)) for m in board.metrics)]
        for group, record, each in board.found
    ]
    return Table("every run", ["", "seed", *board.metrics], rows)


def _run_results(group: Group, record: Record, evaluation: Evaluation) -> RunResults:
    confusions = [figure for figure in evaluation.figures if isinstance(figure, Confusion)]
    drawn = [charts.confusion(figure) for figure in confusions]
    return RunResults(group.name, record.seed, evaluation.tables, drawn)


def _merged_curves(board: Board) -> list[Curves]:
    """Return one figure for all curves of a title: a line for each group, the mean over seeds.

    What groups are compared with has one line where all groups agree, and else one for each.
    """
    first: dict[str, Curves] = {}
    seeds: dict[str, dict[str, dict[str, list[Drawn]]]] = {}
    for group, _, evaluation in board.found:
        for figure in evaluation.figures:
            if isinstance(figure, Curves):
                first.setdefault(figure.title, figure)
                of_lines = seeds.setdefault(figure.title, {})
                for name, line in figure.lines.items():
                    drawn = line, figure.bands.get(name)
                    of_lines.setdefault(name, {}).setdefault(group.name, []).append(drawn)
    merged = {title: _merged_lines(of_lines) for title, of_lines in seeds.items()}
    return [
        replace(
            first[title],
            lines={name: line for name, (line, _) in lines.items()},
            bands={name: band for name, (_, band) in lines.items() if band},
        )
        for title, lines in merged.items()
    ]


def _merged_lines(of_lines: Mapping[str, Mapping[str, Sequence[Drawn]]]) -> dict[str, Drawn]:
    """Return means over seeds, given by line and group, with names that tell them apart.

    The mean of several seeds has no band.
    """
    several = len({group for of_groups in of_lines.values() for group in of_groups}) > 1
    lines: dict[str, Drawn] = {}
    for name, of_groups in of_lines.items():
        means = {group: _mean(seeds) for group, seeds in of_groups.items()}
        if several and name == "run":
            lines |= means
        elif several and any(line != next(iter(means.values())) for line in means.values()):
            lines |= {f"{name}, {group}": line for group, line in means.items()}
        else:
            lines[name] = next(iter(means.values()))
    return lines


def _mean(seeds: Sequence[Drawn]) -> Drawn:
    if len(seeds) == 1:
        return seeds[0]
    return mean_line([line for line, _ in seeds]), None


def _runs(groups: Sequence[Group]) -> Table:
    rows = []
    for group in groups:
        for record in group.records:
            loss = None if record.loss is None else f"{record.loss:.4f}"
            epochs = f"{record.epoch}/{record.epochs}" if record.epochs else None
            reason = record.facts.get("reason")
            state = record.state if not reason else f"{record.state}: {reason}"
            rows.append([group.name, record.seed, state, epochs, record.step, loss])
    return Table("", ["recipe", "seed", "state", "epochs", "steps", "loss"], rows)


def _skipped(records: Sequence[Record]) -> Table:
    """List the videos that could not be used."""
    found = {
        row["path"]: row.get("reason")
        for record in records
        for row in read_rows(record.folder / "bad_media.jsonl")
    }
    title = f"{len(found)} video{'s' * (len(found) != 1)} left out"
    return Table(title, ["video", "reason"], list(found.items()))


def _environment(records: Sequence[Record]) -> Table:
    """List what the runs were made with; several values each with the number of runs."""
    names = ("git", "precision", "videos", "data", "from")
    rows = []
    facts = [
        {**record.facts.get("versions", {}), **{n: record.facts.get(n) for n in names}}
        for record in records
    ]
    for name in dict.fromkeys(name for each in facts for name in each):
        values = Counter(str(each[name]) for each in facts if each.get(name) is not None)
        if values:
            told = [f"{value} ({count})" for value, count in values.items()]
            rows.append([name, ", ".join(told if len(told) > 1 else values)])
    return Table("", ["", "of the trainings"], rows)


def _commands(records: Sequence[Record], found: Sequence[Board]) -> list[list[str]]:
    """Return the command lines that trained and evaluated each run."""
    measured: dict[Path, list[str]] = {}
    for board in found:
        for _, record, each in board.found:
            measured.setdefault(record.folder, []).append(command(each.argv))
    lines = [
        [command(record.facts.get("argv", [])), *measured.get(record.folder, [])]
        for record in records
    ]
    return [list(filter(None, dict.fromkeys(of_run))) for of_run in lines]


def command(argv: Sequence[str]) -> str:
    """Return a command line as one would type it."""
    if not argv:
        return ""
    program = Path(argv[0])
    own = program.name == "vidssl" or program.parts[-2:] == ("vidssl_cli", "__main__.py")
    return shlex.join(["vidssl" if own else argv[0], *argv[1:]])


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"
