"""`vidssl import`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli import completion
from vidssl_cli.cli.next_command import index_of, say_next
from vidssl_cli.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder to write.")],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Weights: safetensors, or a state dict; or a folder with config.json.",
            show_default=False,
        ),
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Download them from the Hugging Face Hub instead: owner/name or "
            "owner/name@revision.",
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            help="Network that a file is for, such as r3d; a folder says it itself.",
            autocompletion=completion.backbone,
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Frames of a clip; by default those that they learned with."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the backbone; repeatable.",
            autocompletion=completion.setting,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import published weights.

    Known are VideoMAE, VideoMAE v2 and V-JEPA 2 as folders with config.json or by --hub, and files
    of torchvision's r3d_18, r2plus1d_18, mc3_18 and s3d. Every command accepts the result as a RUN.
    """
    from vidssl_cli.base.errors import UsageError
    from vidssl_cli.config.load import load_options
    from vidssl_cli.contract.hooks import BackboneOptions

    if (file is None) == (hub is None):
        raise UsageError("give either FILE or --hub NAME", where="vidssl import")
    if backbone is None and overrides:
        raise UsageError("--set needs --backbone", where="--set")
    options = load_options(BackboneOptions, backbone, overrides or ()) if backbone else None

    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.model.import_weights import import_weights
    from vidssl_cli.model.public_files import download

    source = download(hub) if hub else file
    assert source is not None
    imported = import_weights(source, options, out, frames=frames)
    if as_json:
        emit_json({"run": str(out), **asdict(imported)})
        return
    say(f"{imported.source}: all {imported.matched} tensors of {imported.backbone} are there")
    say(f"left out: {_named(imported.left)}")
    licence = imported.licence or "not told with the weights; ask who published them"
    say(f"licence of the weights: {licence}")
    emit(str(out))
    say_next(as_json, "index", out, "--data", "VIDEOS", "--out", index_of(out))


def _named(tensors: Sequence[str]) -> str:
    """Name a few tensors, or how many there are of which parts."""
    if len(tensors) <= 8:
        return ", ".join(tensors) or "nothing"
    parts = sorted({name.partition(".")[0] for name in tensors})
    return f"{len(tensors)} tensors of {', '.join(parts)}"
