"""Commands of vidssl in processes of their own, which can be killed at any moment.

They are forked from a process that has imported torch, so that a hundred cost what one would.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(
    [
        "vidssl_cli.cli",
        "vidssl_cli.training.finetune",
        "vidssl_cli.evaluation.evaluate",
        "vidssl_cli.search.build",
        "vidssl_cli.data.pack",
        "vidssl_cli.contract.registry",
        "cv2",
        "faiss",
    ]
)

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"}
"""Events of Python's audit that change what is on disk; see `start` for `open`."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Command:
    """A command under way, in one process or in several that train together."""

    processes: Sequence[BaseProcess]
    log: Path
    """What they say on stdout and stderr."""

    def wait(self, seconds: float) -> bool:
        """Wait so long for one of its processes to end; tell whether one has."""
        return bool(wait([process.sentinel for process in self.processes], seconds))

    def settle(self, seconds: float) -> None:
        """Wait so long for all of its processes to end."""
        until = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, until - time.monotonic()))

    def kill(self) -> None:
        """Kill all that is left of it (SIGKILL)."""
        for process in self.processes:
            process.kill()

    def end(self, seconds: float) -> list[int]:
        """Wait until all have ended, so long for each; return what they ended with.

        Raises:
            AssertionError: One is still there; all are killed.
        """
        try:
            for process in self.processes:
                process.join(seconds)
                assert not process.is_alive(), f"hangs: {self.log.read_text()}"
        finally:
            self.kill()
        return [process.exitcode or 0 for process in self.processes]


def start(
    arguments: Sequence[str], folder: Path, *, processes: int = 1, operations: int | None = None
) -> Command:
    """Start a command.

    Args:
        arguments: As after ``vidssl``.
        folder: Where it is started. What it says goes to a file of that name with ``.log``.
        processes: How many train together, as torchrun would start them.
        operations: If given, the first process counts what changes files below the folder (makes,
            opens for writing, renames, links, removes) and kills itself before the change of that
            number, from 0. If there are fewer, a file with ``.operations`` tells how many.
    """
    log = _beside(folder, "log")
    world = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port()}
    started: list[BaseProcess] = []
    for rank in map(str, range(processes)):
        environment = world | {"RANK": rank, "LOCAL_RANK": rank}
        limit = operations if rank == "0" else None
        arguments = list(arguments)
        # Of a daemon nothing is left when the case ends, whatever ends it.
        process = forks.Process(
            target=_run, args=(arguments, folder, log, environment, limit), daemon=True
        )
        process.start()
        started.append(process)
    return Command(started, log)


def operations_of(folder: Path) -> int:
    """Return how many changes a command made in the folder that `start` let it count."""
    return int(_beside(folder, "operations").read_text())


def _run(
    arguments: list[str], folder: Path, log: Path, environment: dict[str, str], limit: int | None
) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["vidssl", *arguments]
    sys.dont_write_bytecode = True
    if limit is None:
        _main()
    done = die_before(limit, folder)
    try:
        _main()
    finally:
        _beside(folder, "operations").write_text(str(next(done)))


def _main() -> None:
    from vidssl_cli.cli import main
    from vidssl_cli.data import pack_parts

    pack_parts.PART_FRAMES = 60  # so that small sets have parts as well
    main()


def die_before(number: int, folder: Path) -> count[int]:
    """Have this process kill itself before a change below a folder; return what counts them."""
    changes = count()
    below = os.path.join(os.path.realpath(folder), "")

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            changing = isinstance(arguments[0], str | bytes) and arguments[2] & _WRITES
        else:
            changing = event in _CHANGES
        inside = changing and os.path.realpath(os.fsdecode(arguments[0])).startswith(below)
        if inside and next(changes) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return changes


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f"{folder.name}.{suffix}")


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])
