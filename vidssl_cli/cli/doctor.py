"""`vidssl doctor`; `cli.doctor_checks` does the work."""

from __future__ import annotations

import dataclasses
from typing import Any

import typer

from vidssl_cli.cli.options import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(as_json: AsJson = False) -> None:
    """Check this machine and the installation.

    Reports what is missing and how to fix it. The exit status is 1 only if vidssl cannot work.
    """
    from vidssl_cli.base import console
    from vidssl_cli.cli.doctor_checks import examine

    checks = list(examine())
    fatal = [check for check in checks if check.status == "fatal"]
    if as_json:
        document: dict[str, Any] = {
            "healthy": not fatal,
            "checks": [dataclasses.asdict(check) for check in checks],
        }
        if fatal:
            error = {"code": "failed", "message": fatal[0].found, "where": fatal[0].name}
            document["error"] = error
        console.emit_json(document)
    else:
        for check in checks:
            status = "" if check.status == "ok" else check.status
            console.stdout.print(
                f"{status:8}{check.name:14}{check.found}", markup=False, soft_wrap=True
            )
            if check.fix:
                console.stdout.print(f"{'':22}fix: {check.fix}", markup=False, soft_wrap=True)
    if fatal:
        raise typer.Exit(1)
