"""`vidssl plugins`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plugins)


def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is installed, what failed and why."""
    from vidssl_cli import console
    from vidssl_cli.registry import installed

    found = installed()
    if as_json:
        console.emit_json({"plugins": [dataclasses.asdict(info) for info in found]})
        return
    console.emit_table(
        "",
        ["kind", "name", "package", "status", "reason"],
        ([info.kind, info.name, info.package, info.status, info.reason] for info in found),
    )
