"""`vidssl plugins`."""

from __future__ import annotations

import dataclasses

import typer

from vidssl_cli.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plugins)


def plugins(as_json: AsJson = False) -> None:
    """List installed plugins, and why some failed to load.

    Plugins of other packages are first loaded in a process of their own.
    """
    from vidssl_cli.base import console
    from vidssl_cli.contract.registry import find

    found = find(tried=True).installed()
    if as_json:
        console.emit_json({"plugins": [dataclasses.asdict(info) for info in found]})
        return
    columns = ["kind", "name", "package", "status", "reason"]
    rows = [[info.kind, info.name, info.package, info.status, info.reason] for info in found]
    if all(info.status == "loaded" for info in found):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    console.emit_table("", columns, rows)
