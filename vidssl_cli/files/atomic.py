"""Files and links that appear whole or not at all, also where a process is killed.

Whatever is written begins in a *draft*: a hidden neighbour of its place, whose lock is held as long
as its process lives. So any process can tell what a dead one left, whatever their process ids are.
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
"""Folder of a draft for what is about to be replaced."""


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
    """Open a file that takes the place of ``path`` in one step, once all of it is on the disk.

    Args:
        path: The file.
        size: Bytes that will be written, about, if that is known.

    Raises:
        NoRoomError: It does not fit; the old file is as it was.
    """
    with draft(path, size) as hidden:
        with (hidden / "fresh").open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(hidden / "fresh", path)
        sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Make a symbolic link point to ``target``, relative to its own folder, in one step."""
    with draft(link) as hidden:
        os.symlink(target, hidden / "fresh")
        os.replace(hidden / "fresh", link)
        sync_folder(link.parent)


def sweep(folder: Path) -> None:
    """Clear away what processes of this machine that were killed left half done in a folder.

    A folder that was about to be replaced is put back.
    """
    for draft in folder.glob(f"{_prefix()}*"):
        if draft.is_symlink():  # the folder may come from elsewhere, and nothing here makes links
            continue
        # A lock rather than a process id: ids are used again, and containers have their own.
        with suppress(OSError), open(draft / LOCK, "a", opener=_open_no_link) as file:
            if flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, or_else=False):
                _clear(draft)


@contextmanager
def draft(target: Path, size: int = 0) -> Iterator[Path]:
    """Make a hidden folder in which to write what shall be at ``target``; it is gone afterwards.

    Raises:
        NoRoomError: There is no room, now or while it is written.
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
    except Exception as error:  # only now that the draft is gone is it known what is free
        if reason := why_full(error):
            raise no_room(target, size, reason) from error
        raise


@contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside ``target``, and hold its lock."""
    try:
        make_folder(target.parent)
        sweep(target.parent)
        draft, lock = _claim(target.parent)
    except OSError as error:  # about a name that nobody has ever seen
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        yield draft
    finally:
        _clear(draft)
        lock.close()


def replace_folder(fresh: Path, folder: Path, draft: Path) -> None:
    """Rename a folder; the last of several processes that do so at a time wins."""
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
    """Open what is at this place itself, without waiting for anybody at the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _prefix() -> str:
    """Return what the names of this machine's drafts begin with."""
    return f".tmp-{socket.gethostname()}-"


def _clear(draft: Path) -> None:
    """Remove a draft that is locked; what was about to be replaced, and was not, is put back."""
    for old in draft.glob(f"{_OLD}/*/*"):
        if old.parent.resolve() != draft.resolve() / _OLD / old.parent.name:
            continue  # a link leads there, and to what is somebody else's
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
        # It was swept before it was locked: once more.


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
