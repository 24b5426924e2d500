"""Writes files, links and folders whole or not at all, also if the process is killed.

They are first written into a *draft*: a hidden folder in the same parent folder, locked as long as
its process lives. So any process can tell which drafts a killed one left.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, BinaryIO

from vidssl_cli.files.disk_space import no_room, require_room, why_full
from vidssl_cli.files.locks import LOCK, flock, make_folder

_OLD = "old"
"""Folder of a draft for what is being replaced."""


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file in one step: readers see the old content or the new, also after a crash.

    Raises:
        NoRoomError: It does not fit; the old file is as it was.
    """
    content = content.encode() if isinstance(content, str) else content
    with replacing(path, size=len(content)) as file:
        file.write(content)


@contextmanager
def replacing(path: Path, *, size: int = 0) -> Iterator[BinaryIO]:
    """Open a file that replaces ``path`` in one step, once all of it is on the disk.

    Args:
        path: The file.
        size: About how many bytes will be written, if known.

    Raises:
        NoRoomError: It does not fit; the old file is as it was.
    """
    with draft(path, size) as hidden:
        with (hidden / "fresh").open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(hidden / "fresh", path)
        except IsADirectoryError as error:  # it names the hidden file
            raise IsADirectoryError(error.errno, error.strerror, str(path)) from None
        sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make a symbolic link point to ``target``, relative to its own folder, in one step."""
    with draft(link) as hidden:
        os.symlink(target, hidden / "fresh")
        os.replace(hidden / "fresh", link)
        sync_folder(link.parent)


def sweep(folder: Path) -> None:
    """Remove the drafts that killed processes of this machine left in a folder.

    A folder that was being replaced is restored.
    """
    for draft in folder.glob(f"{_prefix()}*"):
        if draft.is_symlink():  # not ours: drafts are folders, and a link may lead anywhere
            continue
        # Not a process id: ids are reused, and containers have their own.
        with suppress(OSError), open(draft / LOCK, "a", opener=_open_no_link) as file:
            if flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, or_else=False):
                _clear(draft)


@contextmanager
def draft(target: Path, size: int = 0) -> Iterator[Path]:
    """Make a hidden folder for what will be at ``target``; it is removed afterwards.

    Raises:
        NoRoomError: The disk is too full, now or while it is written.
    """
    require_room(target, size)
    try:
        with hidden_folder(target) as hidden:
            try:
                yield hidden
            except Exception:
                written = sum(path.lstat().st_size for path in hidden.rglob("*") if path.is_file())
                size = max(size, written)
                raise
    except Exception as error:  # after the draft is removed, since it took space
        if reason := why_full(error):
            raise no_room(target, size, reason) from error
        raise


@contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder in the parent folder of ``target``, and hold its lock."""
    try:
        make_folder(target.parent)
        sweep(target.parent)
        draft, lock = _claim(target.parent)
    except OSError as error:  # the name in it means nothing to the user
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        yield draft
    finally:
        _clear(draft)
        lock.close()


def replace_folder(fresh: Path, folder: Path, draft: Path) -> None:
    """Replace a folder by renaming; of several processes at a time, the last one wins."""
    for number in count():
        old = draft / _OLD / str(number)
        old.mkdir(parents=True)
        with suppress(FileNotFoundError):
            os.rename(folder, old / folder.name)
        try:
            os.rename(fresh, folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            break
    sync_folder(folder.parent)


def _open_no_link(path: str, flags: int) -> int:
    """Open a file, but no link, and without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _prefix() -> str:
    """Return the prefix of the names of this machine's drafts."""
    return f".tmp-{socket.gethostname()}-"


def _clear(draft: Path) -> None:
    """Remove a locked draft; restore a folder that was moved into it and not replaced."""
    for old in draft.glob(f"{_OLD}/*/*"):
        if old.parent.resolve() != draft.resolve() / _OLD / old.parent.name:
            continue  # a link that leads elsewhere
        if not (draft.parent / old.name).exists():
            with suppress(OSError):  # another process may have put something there since
                os.rename(old, draft.parent / old.name)
    shutil.rmtree(draft, ignore_errors=True)


def _claim(parent: Path) -> tuple[Path, IO[str]]:
    """Make a hidden folder; return it with its lock."""
    while True:
        draft = parent / f"{_prefix()}{uuid.uuid4().hex}"
        draft.mkdir()
        with suppress(FileNotFoundError), ExitStack() as opened:
            lock = opened.enter_context((draft / LOCK).open("a"))
            flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), (draft / LOCK).stat()):
                opened.pop_all()
                return draft, lock
        # Another process swept it before it was locked: try again.


def sync_folder(path: Path) -> None:
    """Flush the entries of a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
