"""`vidssl import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Weights: safetensors, or a state dict.")
    ],
    backbone: Annotated[str, typer.Option(help="Network they are for, such as r3d.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder to write.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the backbone; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import published weights.

    Known are torchvision's r3d_18 for r3d and r2plus1d_18 for r2plus1d. Every command accepts the
    result as a RUN.
    """
    from vidssl_cli.config.load import load_options
    from vidssl_cli.contract.hooks import BackboneOptions

    options = load_options(BackboneOptions, backbone, overrides or ())

    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.model.import_weights import import_weights

    imported = import_weights(file, options, out)
    if as_json:
        emit_json({"run": str(out), "backbone": options.name, **asdict(imported)})
        return
    say(f"{imported.source}: all {imported.matched} tensors of {options.name} are there")
    say(f"left out: {', '.join(imported.left) or 'nothing'}")
    emit(str(out))
