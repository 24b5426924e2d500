"""`vidssl published`: figures of papers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidssl_cli.cli.options import AsJson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vidssl_cli.contract.reports import PublishedRow


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(published)


def published(
    keys: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY]...", help="Paper, paper/table or paper/table/row."),
    ] = None,
    method: Annotated[str, typer.Option(help="Part of the name of the method.")] = "",
    network: Annotated[str, typer.Option(help="Part of the name of the network.")] = "",
    dataset: Annotated[str, typer.Option(help="Part of the name of the test set.")] = "",
    evaluator: Annotated[str, typer.Option(help="Protocol.")] = "",
    as_json: AsJson = False,
) -> None:
    """List figures that papers report, by table.

    `vidssl evaluate` compares a run with those of the same protocol and data set.
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


def _table(row: PublishedRow) -> tuple[str, str]:
    return row.key.rpartition("/")[0], row.dataset


def _as_document(row: PublishedRow) -> dict[str, Any]:
    names = (
        *("key", "paper", "table", "evaluator", "dataset", "setting", "figures"),
        *("backbone", "units", "by_class"),
    )
    return {name: getattr(row, name) for name in names}


def _emit(rows: Sequence[PublishedRow]) -> None:
    """Print a table of a paper, or what is left of it, for one data set."""
    from vidssl_cli.base.console import emit_table
    from vidssl_cli.config.published import printed, trained_on

    first, figures = rows[0], [printed(row) for row in rows]
    table = first.key.rpartition("/")[0]
    title = f"{table}: {first.source}, {first.evaluator} on {first.dataset}"
    short = [row.key.rpartition("/")[2] for row in rows]
    metrics = list(dict.fromkeys(metric for each in figures for metric in each))
    if first.by_class:
        lines = [[name, *(each[name] for each in figures)] for name in metrics]
        emit_table(title, ["class", *short], lines)
        return
    sources = {trained_on(row) for row in rows}
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
                *([trained_on(row)] if varied else []),
                *(each.get(metric) for metric in metrics),
            ]
            for key, row, each in zip(short, rows, figures, strict=True)
        ],
    )
