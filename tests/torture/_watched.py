"""Commands in processes of their own, with what they said and what they took.

They are forked from a process that has imported torch, so that only the work itself is measured.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torture._memory import bytes_of, forget_peak
from torture.harness import Broken

_MODULES = (
    *("cli", "contract.registry", "data.pack", "evaluation.evaluate", "model.import_weights"),
    *("pages.attention", "pages.gallery", "pages.map", "pages.preview", "pages.report"),
    *("search.build", "search.retrieve", "training.finetune"),
)
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([f"vidssl_cli.{module}" for module in _MODULES])

_SPARE = 4 << 30
"""Bytes of addresses that a command may take, so that no machine is brought to its knees."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    """What it said on stdout, and on stderr."""
    err: str
    seconds: float
    """Of processors, without imports."""
    megabytes: float
    """By which its memory grew, at most."""


def run(arguments: Sequence[str], folder: Path, *, limit: float = 60) -> Ended:
    """Run ``vidssl`` in a folder.

    Args:
        arguments: As after ``vidssl``.
        folder: Where it is started; what it says is left there.
        limit: Seconds after which it counts as hung.

    Raises:
        Broken: It hangs, or its process died.
    """
    process = _forks.Process(target=_carry_out, args=(list(arguments), folder), daemon=True)
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        raise Broken(f"hangs: {' '.join(arguments)}")
    told = folder / ".taken"
    if not told.is_file():
        raise Broken(f"died with {process.exitcode}: {' '.join(arguments)}")
    taken = json.loads(told.read_text())
    told.unlink()
    said = [(folder / name).read_bytes().decode() for name in (".stdout", ".stderr")]
    return Ended(taken["status"], *said, taken["seconds"], taken["megabytes"])


def _carry_out(arguments: list[str], folder: Path) -> None:
    for module in _MODULES:
        import_module(f"vidssl_cli.{module}")
    from vidssl_cli.cli import app, failures
    from vidssl_cli.contract.registry import registry

    registry()
    os.chdir(folder)
    for name, stream in ((".stdout", sys.stdout), (".stderr", sys.stderr)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    forget_peak()
    before, room = bytes_of("VmRSS"), bytes_of("VmSize") + _SPARE
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    sys.argv = ["vidssl", *arguments]
    began = time.process_time()
    status = failures.run(app, arguments)
    seconds = time.process_time() - began
    sys.stdout.flush()
    megabytes = (bytes_of("VmHWM") - before) / 2**20
    taken = {"status": status, "seconds": round(seconds, 3), "megabytes": round(megabytes, 1)}
    Path(".taken").write_text(json.dumps(taken))
