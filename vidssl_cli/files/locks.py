"""Locks folders for one writer at a time; the error for a second one names the first.

A lock ends with its process, however that ends. Where a file system has no locks, it has no effect.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from vidssl_cli.base.errors import BusyError
from vidssl_cli.files.disk_space import room_for

LOCK = ".lock"
"""File in a folder that its writer locks."""

_PATIENCE = 10
"""Attempts to read who has a lock, a tenth of a second apart."""


@contextmanager
def locked(folder: Path, maker: str) -> Iterator[None]:
    """Lock a folder for writing, and make it if it does not exist; readers need no lock.

    Other machines see the lock where the file system shares locks, as NFS does.

    Args:
        folder: What is written.
        maker: The command that writes it, for the message.

    Raises:
        BusyError: Another process is writing it; the message says which.
    """
    make_folder(folder)
    with (folder / LOCK).open("a+b", buffering=0) as file:
        if (holder := _take(file)) is not None:
            raise BusyError(
                f"another `{maker}` is writing here{holder}", where=str(folder),
                hint="wait until it is done and try again",
            ) from None  # fmt: skip
        told = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "argv": sys.argv}
        content = json.dumps(told).encode()
        with room_for(folder / LOCK, len(content)):
            file.truncate(0)
            file.write(content)
        try:
            yield
        finally:
            file.truncate(0)


def refuse_locked(folder: Path, maker: str) -> None:
    """Raise BusyError, as `locked` would, before work that would be in vain."""
    if is_locked(folder):
        with locked(folder, maker):
            pass


def is_locked(folder: Path) -> bool:
    """Tell whether a process is in `locked` with this folder."""
    try:
        with (folder / LOCK).open() as file:
            return not flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False


def flock(file: IO[Any] | int, operation: int, *, or_else: bool = True) -> bool:
    """Lock an open file; return False if another process has the lock.

    Args:
        file: What to lock, or its descriptor.
        operation: As for `fcntl.flock`.
        or_else: What to return where the file system has no locks.
    """
    try:
        fcntl.flock(file, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return or_else
    return True


def make_folder(folder: Path) -> None:
    """Make a folder if it does not exist."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), str(folder)) from None


def _take(file: IO[bytes]) -> str | None:
    """Lock a file for writing; return who has the lock if it cannot be locked, else None."""
    holder = ""
    for _ in range(_PATIENCE):
        if flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return None
        file.seek(0)
        if holder := _holder(file.read()):
            break
        time.sleep(0.1)  # it may not have written its name yet, or only be testing the lock
    return holder


def _holder(content: bytes) -> str:
    """Describe the holder of a lock from its content; nothing if that process is gone."""
    try:
        told = json.loads(content)
        pid, host, since = int(told["pid"]), str(told["host"]), str(told["since"])
        command = shlex.join(["vidssl", *map(str, told["argv"][1:])])
    except (ValueError, LookupError, TypeError):
        return ""
    if host == socket.gethostname() and not _alive(pid):
        return ""
    return f": process {pid} on {host} since {since}, `{command}`"


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", timespec="seconds")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True
