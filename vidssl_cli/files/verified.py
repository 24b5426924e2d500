"""Checks large published folders once, and again when a file of them may have changed.

Small folders are checked whole every time. Of a large one, a hidden file next to it tells which
files were found whole, with what the system says of each: size, inode, time of change and of its
last change of any kind. As long as all that is the same, on the same machine, they are not read
again: what has changed since without the file system noticing is found by `vidssl index --verify`.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import NoRoomError
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.sealed_folder import MANIFEST, listed, verify
from vidssl_cli.files.untrusted_text import read_json

SMALL = 1 << 26
"""Bytes of a folder up to which it is checked every time, in less than a tenth of a second."""


def verify_once(folder: Path, *needed: str) -> dict[str, str]:
    """Do as `sealed_folder.verify` does, but read no large file that is known to be whole.

    Raises:
        DamagedFileError: As `verify`.
    """
    files = listed(folder, *needed)
    if sum(size for size, _ in files.values()) <= SMALL:
        return verify(folder, *needed)
    if _read(note_of(folder)) == _state(folder, list(files)):
        return {name: digest for name, (_, digest) in files.items()}
    digests = verify(folder, *needed)
    note_whole(folder)
    return digests


def note_whole(folder: Path) -> None:
    """Note that all files of a folder are whole; where that cannot be written, it is not."""
    with suppress(OSError, NoRoomError):
        files = listed(folder)
        if sum(size for size, _ in files.values()) > SMALL:
            atomic_write(note_of(folder), json.dumps(_state(folder, list(files))))


def note_of(folder: Path) -> Path:
    """Return the path of what is noted of a folder."""
    return folder.with_name(f".{folder.name}.verified")


def _state(folder: Path, names: list[str]) -> dict[str, Any]:
    """Return what the system says of the files."""
    state: dict[str, Any] = {"host": socket.gethostname()}
    for name in (MANIFEST, *names):
        with suppress(OSError):
            facts = os.stat(folder / name)
            state[name] = [facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns]
    return state


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return read_json(path)
    return None
