"""`vidssl plugins`."""

from __future__ import annotations

import dataclasses
import json
from importlib.metadata import Distribution
from typing import Annotated

import typer

from vidssl_cli.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plugins)


def plugins(
    requirements: Annotated[
        bool,
        typer.Option(
            "--requirements",
            help="Print what pip needs to install the packages of plugins again, and load none.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List installed plugins, and why some failed to load.

    Plugins of other packages are first loaded in a process of their own.
    """
    from vidssl_cli.base import console
    from vidssl_cli.contract.registry import find

    if requirements:
        lines = _requirements()
        if as_json:
            console.emit_json({"requirements": lines})
        for line in () if as_json else lines:
            console.emit(line)
        return
    found = find(tried=True).installed()
    if as_json:
        console.emit_json({"plugins": [dataclasses.asdict(info) for info in found]})
        return
    columns = ["kind", "name", "package", "status", "reason"]
    rows = [[info.kind, info.name, info.package, info.status, info.reason] for info in found]
    if not any(info.reason for info in found):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    console.emit_table("", columns, rows)


def _requirements() -> list[str]:
    """Return a line of a requirements file for each other package that has plugins."""
    from vidssl_cli.contract.entry_points import OURS, find_entries, package_of

    packages = {package_of(entry): entry.dist for entry in find_entries()[0]}
    return [
        _requirement(name, dist)
        for name, dist in sorted(packages.items())
        if name != OURS and dist is not None
    ]


def _requirement(name: str, dist: Distribution) -> str:
    """Return what installs a distribution again, from where it was installed (PEP 610)."""
    origin = json.loads(dist.read_text("direct_url.json") or "{}")
    if (url := origin.get("url")) is None:
        return f"{name}=={dist.version}"
    if origin.get("dir_info", {}).get("editable"):
        return f"--editable {url}"
    if vcs := origin.get("vcs_info"):
        url = f"{vcs['vcs']}+{url}@{vcs['commit_id']}"
    return f"{name} @ {url}"
