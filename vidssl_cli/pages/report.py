"""The page of `vidssl report`: what was measured of runs, how they were trained, and how to do it.

Everything that runs and reports say is escaped.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from vidssl_cli.base.escaping import escape
from vidssl_cli.contract.reports import Confusion, Curves
from vidssl_cli.evaluation.scoreboard import FEW
from vidssl_cli.evaluation.tables import cells
from vidssl_cli.model.run_directory import read_rows
from vidssl_cli.pages import charts
from vidssl_cli.pages.curves import mean_line, training_curves
from vidssl_cli.pages.html import details, table, write_page
from vidssl_cli.pages.report_galleries import galleries
from vidssl_cli.pages.report_recipes import recipes

if TYPE_CHECKING:
    from vidssl_cli.evaluation.records import Record
    from vidssl_cli.evaluation.scoreboard import Board, Group


def write_report(path: Path, groups: Sequence[Group], found: Sequence[Board]) -> None:
    """Write the page.

    Args:
        path: The HTML file.
        groups: The runs.
        found: What was measured of them.
    """
    records = [record for group in groups for record in group.records]
    parts = {
        "Results": [f'<div class="boards">{"".join(map(_board, found))}</div>' if found else ""],
        "Training": [_runs(groups), _charts(training_curves(groups)), _skipped(records)],
        "Nearest neighbours": [text for board in found for text in galleries(board)],
        "Recipes": recipes(groups),
        "Environment": [_environment(records)],
        "Commands": [_commands(records, found)],
    }
    shown = {title: list(filter(None, content)) for title, content in parts.items()}
    shown = {title: content for title, content in shown.items() if content}
    links = "".join(f'<a href="#{_anchor(title)}">{title}</a>' for title in shown)
    body = "\n".join(
        f'<article id="{_anchor(title)}"><h2>{title}</h2>\n' + "\n".join(content) + "\n</article>"
        for title, content in shown.items()
    )
    title = groups[0].name if len(groups) == 1 else f"{len(groups)} recipes side by side"
    count = f"{len(records)} run{'s' * (len(records) != 1)}"
    subtitle = f"{count}, {_seeds(groups)}; written by vidssl {version('vidssl')}"
    style = ["gallery.css", "report.css"]
    write_page(path, title, subtitle, f"<nav>{links}</nav>\n{body}", style=style)


def _seeds(groups: Sequence[Group]) -> str:
    if len(groups) == len(groups[0].records) == 1:
        return f"seed {groups[0].records[0].seed}"
    counts = sorted({len(group.records) for group in groups})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} seed{'s' * (span != '1')} each"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _board(board: Board) -> str:
    """Draw what one protocol found: its table, every run by itself, and its figures."""
    lines = board.lines
    marks = ["run" if line.is_run else "" for line in lines]
    marks += ["paper" for _ in board.published[:FEW]]
    parts = [
        f"<h3>{escape(board.title)}<small>percent</small></h3>",
        table(["", *board.metrics, "seeds"], cells(board), marks),
        *(f'<p class="note">{escape(note)}</p>' for note in board.notes),
    ]
    if board.published[FEW:]:
        parts.append(_all_published(board))
    facts = board.evaluation.facts
    same = {
        key: value
        for key, value in facts.items()
        if all(each.facts.get(key) == value for *_, each in board.found)
    }
    if same:
        words = " · ".join(f"{key} {value}" for key, value in same.items())
        parts.append(f'<p class="faint">{escape(words)}</p>')
    parts.append(_drawn(board))
    parts.append(_every_run(board))
    return f'<div class="board">{"".join(filter(None, parts))}</div>'


def _all_published(board: Board) -> str:
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
    return details(f"all {len(rows)} published rows", table(columns, rows))


def _every_run(board: Board) -> str:
    """Show what was found of each run, folded away if there are several."""
    parts = []
    for group, record, each in board.found:
        inside = [f"<h4>{escape(t.title)}</h4>{table(t.columns, t.rows)}" for t in each.tables]
        inside += [
            f'<div class="chart-box wide">{charts.confusion(figure)}</div>'
            for figure in each.figures
            if isinstance(figure, Confusion)
        ]
        if inside and len(board.found) > 1:
            inside.insert(
                0, f"<h3>{escape(group.name)}<small>seed {escape(str(record.seed))}</small></h3>"
            )
        parts += inside
    if len(board.found) == 1:
        return "".join(parts)
    rows = [
        [group.name, record.seed, *(_percent(each.figure("run", m)) for m in board.metrics)]
        for group, record, each in board.found
    ]
    return details("every run", "".join([table(["", "seed", *board.metrics], rows), *parts]))


def _drawn(board: Board) -> str:
    """Draw curves of the same title in one chart: a line for every group, the mean over seeds."""
    titles: dict[str, dict[str, dict[str, list[Sequence[tuple[float, float]]]]]] = {}
    axes: dict[str, Curves] = {}
    for group, _, each in board.found:
        for figure in each.figures:
            if isinstance(figure, Curves):
                axes.setdefault(figure.title, figure)
                mine = titles.setdefault(figure.title, {}).setdefault(group.name, {})
                for name, line in figure.lines.items():
                    mine.setdefault(name, []).append(line)
    drawn = []
    for title, of_groups in titles.items():
        lines = {}
        for place, (group_name, of_names) in enumerate(of_groups.items()):
            for name, seeds in of_names.items():
                if len(of_groups) == 1:
                    lines[name] = mean_line(seeds)
                elif name == "run":
                    lines[group_name] = mean_line(seeds)
                elif place == 0:  # what it is compared with, once
                    lines[f"{name}, {group_name}"] = mean_line(seeds)
        drawn.append(replace(axes[title], lines=lines))
    return _charts(drawn)


def _charts(figures: Iterable[Curves]) -> str:
    drawn = "".join(f'<div class="chart-box">{charts.curves(each)}</div>' for each in figures)
    return f'<div class="charts">{drawn}</div>' if drawn else ""


def _runs(groups: Sequence[Group]) -> str:
    """List the runs."""
    rows = []
    for group in groups:
        for record in group.records:
            loss = None if record.loss is None else f"{record.loss:.4f}"
            epochs = f"{record.epoch}/{record.epochs}" if record.epochs else None
            reason = record.facts.get("reason")
            state = record.state if not reason else f"{record.state}: {reason}"
            rows.append([group.name, record.seed, state, epochs, record.step, loss])
    return table(["recipe", "seed", "state", "epochs", "steps", "loss"], rows)


def _skipped(records: Sequence[Record]) -> str:
    """Name the videos that could not be used."""
    found = {
        row["path"]: row.get("reason")
        for record in records
        for row in read_rows(record.folder / "bad_media.jsonl")
    }
    if not found:
        return ""
    content = table(["video", "reason"], list(found.items()))
    return details(f"{len(found)} videos were skipped", content)


def _environment(records: Sequence[Record]) -> str:
    """Show what the runs were made with; several values each with the number of runs."""
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
    return table(["", "of the trainings"], rows)


def _commands(records: Sequence[Record], found: Sequence[Board]) -> str:
    """Show the command lines that lead here."""
    measured: dict[Path, list[str]] = {}
    for board in found:
        for _, record, each in board.found:
            measured.setdefault(record.folder, []).append(command(each.argv))
    blocks = []
    for record in records:
        lines = [command(record.facts.get("argv", [])), *measured.get(record.folder, [])]
        spans = (f"<span>{escape(each)}</span>" for each in dict.fromkeys(lines) if each)
        blocks.append(f"<pre>{''.join(spans)}</pre>")
    return "\n".join(blocks)


def command(argv: Sequence[str]) -> str:
    """Return a command line as one would type it."""
    if not argv:
        return ""
    program = Path(argv[0])
    own = program.name == "vidssl" or program.parts[-2:] == ("vidssl_cli", "__main__.py")
    return shlex.join(["vidssl" if own else argv[0], *argv[1:]])


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"
