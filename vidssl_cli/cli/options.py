"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.base.errors import UsageError

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="Name (`vidssl recipes list`) or file.", show_default=False
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace one value of the recipe, such as train.epochs=5; repeatable.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Data = Annotated[
    str, typer.Option(metavar="DATA", help="A folder of videos, a manifest, or a list.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 5 if media were skipped.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
Split = Annotated[int, typer.Option(min=1, help="Official split, for data that have several.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="VIDSSL_DATA_ROOT",
        help="All files of DATA must lie in it. By default neither links nor relative paths may "
        "leave DATA's own folder.",
    ),
]
DataSetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME",
        help="What DATA is, such as UCF101; told by its classes if not given.",
    ),
]


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Refuse to write a page over a file without being told to, or over a folder.

    Raises:
        UsageError: Something is there.
    """
    if out.is_dir() or (out.exists() and not overwrite):
        raise UsageError(
            f"--out {out} is there already", hint="choose another name, or say --overwrite"
        )
