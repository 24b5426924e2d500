"""`vidssl breadth`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.options import (
    AsJson,
    Checkpoint,
    DataOptions,
    Device,
    OverwritePage,
    Run,
    expand,
    refuse_page,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expand(breadth))


def breadth(
    run: Run,
    data: Annotated[
        list[str],
        typer.Option("--data", metavar="DATA", help="Labelled videos with splits; repeatable."),
    ],
    *,
    reading: DataOptions,
    checkpoint: Checkpoint = "last",
    out: Annotated[Path | None, typer.Option(metavar="PAGE", help="Page to write (.html).")] = None,
    overwrite: OverwritePage = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Measure a run on several data sets by several protocols.

    Other domains and finer actions, fewer labels, and a task in time, each compared with random
    weights and chance. What data are not fit for is named. The run keeps every report, as those of
    `vidssl evaluate`.
    """
    from vidssl_cli.base.console import emit, emit_json, emit_table
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.evaluation.breadth import NamedData, measure
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.pages.breadth import write_breadth

    if out:
        refuse_page(out, overwrite)
    if len(set(data)) < len(data):
        raise UsageError("the same DATA is given twice", where="--data")
    require_writable(run)
    encoder = Encoder.load(run, device, checkpoint)
    short = [Path(source).name for source in data]
    sets = []
    for source, name in zip(data, short if len({*short}) == len(short) else data, strict=True):
        left_out: list[Video] = []
        videos, _ = reading.open(source, left_out=left_out)
        sets.append(NamedData(name, videos, left_out))
    found = measure(encoder, sets, run, checkpoint, run / "features", reading.split)
    if out:
        write_breadth(out, run, found)
    if as_json:
        emit_json({"page": None if out is None else str(out), **found.as_document()})
        return
    for table in found.tables():
        emit_table(table.title, table.columns, table.rows)
    if out:
        emit(str(out))
