"""Tables of figures for the terminal, as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from textwrap import wrap

from vidssl_cli.base.console import emit, emit_table
from vidssl_cli.base.escaping import visible
from vidssl_cli.evaluation.scoreboard import FEW, Board, Line

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # which would be an option of the line break before it
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def cells(board: Board) -> list[list[str]]:
    """Return the lines of a table in percent: name, one cell for each metric, seeds.

    The closest published rows follow, numbered as in the notes of the board.
    """
    ours = [
        [
            line.name,
            *(line.figures[m].percent() if m in line.figures else "–" for m in board.metrics),
            _seeds(line),
        ]
        for line in board.lines
    ]
    return ours + [
        [
            f"[{number}] {row.name or 'published'}",
            *(_percent(row.figures.get(metric)) for metric in board.metrics),
            "",
        ]
        for number, row in enumerate(board.published[:FEW], 1)
    ]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _seeds(line: Line) -> str:
    return str(max(tally.count for tally in line.figures.values())) if line.is_run else ""


def show(boards: Sequence[Board]) -> None:
    """Print tables on the terminal; if all lines have as many seeds, the title says how many."""
    for board in boards:
        rows = cells(board)
        counts = {row[-1] for row in rows if row[-1]}
        title, columns = f"{board.title}, percent", ["", *board.metrics, "seeds"]
        if len(counts) == 1:
            (count,) = counts
            title += "" if count == "1" else f" over {count} seeds"
            rows, columns = [row[:-1] for row in rows], columns[:-1]
        emit_table(title, columns, rows)
        for note in board.notes:
            for part in wrap(note, 78, initial_indent="  ", subsequent_indent="    "):
                emit(part)
        if board.notes:
            emit("")


def markdown(boards: Sequence[Board]) -> str:
    """Return Markdown tables, as GitHub shows them."""
    parts = []
    for board in boards:
        columns = ["", *board.metrics, "seeds"]
        rule = ["---", *["---:"] * (len(columns) - 1)]
        rows = [list(map(_in_markdown, row)) for row in [columns, *cells(board)]]
        lines = [f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:])]
        notes = "".join(f"\n{_in_markdown(note)}\n" for note in board.notes)
        head = f"**{_in_markdown(board.title)}**, percent"
        parts.append(f"{head}\n\n" + "\n".join(lines) + f"\n{notes}")
    return "\n".join(parts)


def latex(boards: Sequence[Board]) -> str:
    """Return LaTeX tables for the package booktabs."""
    parts = []
    for board in boards:
        rows = [
            " & ".join(map(_in_latex, row)) + r" \\"
            for row in [["", *board.metrics, "seeds"], *cells(board)]
        ]
        parts.append(
            "\n".join(
                [
                    f"% {' '.join(board.title.split())}, percent",
                    rf"\begin{{tabular}}{{l{'r' * (len(board.metrics) + 1)}}}",
                    r"\toprule",
                    rows[0],
                    r"\midrule",
                    *rows[1:],
                    r"\bottomrule",
                    r"\end{tabular}",
                    *(f"% {' '.join(note.split())}" for note in board.notes),
                ]
            )
            + "\n"
        )
    return "\n".join(parts)


def comma_separated(boards: Sequence[Board]) -> str:
    """Return a line for every run, set of weights and metric; figures range from 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["evaluation", "recipe", "run", "seed", "weights", "metric", "value"])
    for board in boards:
        for group, record, evaluation in board.found:
            about = [board.title, group.name, record.folder, record.seed]
            weights = dict.fromkeys(str(row["weights"]) for row in evaluation.rows)
            for metric in board.metrics:
                figures = {name: evaluation.figure(name, metric) for name in weights}
                for name, value in {**figures, "chance": evaluation.chance(metric)}.items():
                    if value is not None:
                        writer.writerow([*map(_in_csv, [*about, name, metric]), value])
    return text.getvalue()


def _in_csv(cell: object) -> str:
    """Quote names that spreadsheets would read as formulas."""
    text = "" if cell is None else visible(str(cell))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _in_markdown(text: str) -> str:
    # A colon before slashes would begin a link, an ampersand may begin a character's name.
    active = r"([\\`*_<>|\[\]~$@]|:(?=//)|&(?=[#\w]+;))"
    return re.sub(active, r"\\\1", " ".join(text.split()))


def _in_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
