"""`vidssl published`: what papers report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidssl_cli.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.config.published import Row


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(published)


def published(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Paper, paper/table or paper/table/row."),
    ] = None,
    method: Annotated[str, typer.Option(help="Part of its name.")] = "",
    network: Annotated[str, typer.Option(help="Part of its name.")] = "",
    dataset: Annotated[str, typer.Option(help="Part of the name of what was evaluated on.")] = "",
    evaluator: Annotated[str, typer.Option(help="Protocol.")] = "",
    as_json: AsJson = False,
) -> None:
    """List figures that papers report, by table.

    `vidssl evaluate` puts those of the same protocol and data set beside a run.
    """
    from itertools import groupby

    from vidssl_cli.base.console import emit_json
    from vidssl_cli.config.published import select

    found = select(keys or (), method, network, dataset, evaluator)
    if as_json:
        emit_json({"rows": [_as_document(row) for row in found]})
        return
    found.sort(key=_table)  # stable: the data sets of a table apart, its rows in their order
    for _, rows in groupby(found, key=_table):
        _emit(list(rows))


def _table(row: Row) -> tuple[str, str]:
    return row.key.rpartition("/")[0], row.dataset


def _as_document(row: Row) -> dict[str, Any]:
    from dataclasses import asdict

    setting = row.setting.model_dump(exclude_none=True)
    return asdict(row) | {"setting": setting, "figures": row.fractions()}


def _emit(rows: Sequence[Row]) -> None:
    """Print a table of a paper, or what is left of it, for one data set."""
    from vidssl_cli.base.console import emit_table

    first = rows[0]
    table = first.key.rpartition("/")[0]
    title = f"{table}: {first.source}, {first.evaluator} on {first.dataset}"
    short = [row.key.rpartition("/")[2] for row in rows]
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.figures))
    if first.by_class:
        lines = [[name, *(row.figures[name] for row in rows)] for name in metrics]
        emit_table(title, ["class", *short], lines)
        return
    sources = {row.trained_on for row in rows}
    varied = len(sources) > 1
    if not varied and (source := sources.pop()):
        title += f", pre-trained on {source}"
    emit_table(
        title,
        ["row", "method", *(["pre-trained on"] if varied else []), *metrics],
        [
            [
                key,
                row.name,
                *([row.trained_on] if varied else []),
                *(row.figures.get(metric) for metric in metrics),
            ]
            for key, row in zip(short, rows, strict=True)
        ],
    )
