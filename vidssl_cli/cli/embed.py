"""`vidssl embed`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli.options import (
    DATA_HELP,
    AllDevices,
    AsJson,
    Checkpoint,
    DataOptions,
    DecoderOption,
    EveryOption,
    Strict,
    Workers,
    expand,
    load_decoder,
    read_every,
)


class Level(StrEnum):
    """What has a row."""

    VIDEO = "video"
    CLIP = "clip"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expand(embed))


def embed(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Run or exported model; or an index.")
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Where to write: a .parquet or .npz file.")
    ],
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help=f"{DATA_HELP} Not for an index.",
                     show_default=False),
    ] = None,
    level: Annotated[
        Level, typer.Option(help="A row for each video, the mean of its clips, or for each clip.")
    ] = Level.VIDEO,
    unit: Annotated[
        bool,
        typer.Option(
            "--unit",
            help="Of an index: as it compares them, so that scalar products are its scores.",
        ),
    ] = False,
    every: EveryOption = None,
    reading: DataOptions,
    checkpoint: Checkpoint = "last",
    device: AllDevices = "auto",
    workers: Workers = None,
    decoder: DecoderOption = "pyav",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write features to a file for other programs.

    The rows have path, label, split, start and end in seconds, and the vector as the network gave
    it. What is embedded is kept beside the file until that is written: the same command goes on
    after an interruption.
    """
    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.base.errors import MediaError, SkippedMediaError, UsageError
    from vidssl_cli.cli.embed_run import embed_to_file
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.features_file import of_index, require_format, write_features
    from vidssl_cli.search.generations import is_index
    from vidssl_cli.search.store import open_index

    require_format(out)
    windows = read_every(every)
    options = load_decoder(decoder)
    broken: list[MediaError] = []
    partial = 0
    if is_index(source):
        if data is not None:
            raise UsageError(
                "an index has its features already", where="--data",
                hint="leave out --data, or add the videos by `vidssl index`",
            )  # fmt: skip
        if windows is not None:
            raise UsageError(
                "an index has its clips already", where="--every", hint="leave out --every"
            )
        rows = write_features(out, of_index(open_index(source), level.value, unit=unit))
    else:
        if data is None:
            raise UsageError(
                f"{source} is no index, so it needs videos to embed", where="--data",
                hint="give --data DATA",
            )  # fmt: skip
        if unit:
            raise UsageError("--unit is for an index, which compares", hint="leave it out")
        encoder = Encoder.load(source, device, checkpoint, workers=workers, every_gpu=True)
        rows, partial, broken = embed_to_file(
            encoder, data, reading, options, out, level.value, windows
        )
    if as_json:
        emit_json({"file": str(out), "rows": rows, "broken": [error.row for error in broken]})
    else:
        emit(f"{out}: {counted(rows, 'row')}, {level.value} by {level.value}")
    SkippedMediaError.raise_if(strict, len(broken), partial=partial)
