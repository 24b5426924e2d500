"""Checks for disk space, and explains errors for want of it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidssl_cli.base.errors import NoRoomError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def require_room(path: Path, size: int, what: str = "this") -> None:
    """Refuse to begin writing what does not fit.

    Args:
        path: What will be written.
        size: Its bytes.
        what: Its name in the message.

    Raises:
        NoRoomError: The disk has fewer bytes left.
    """
    if size > _free(path):
        raise no_room(path, size, f"there is no room for {what}")


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """Add the file and its size to errors in which the system says only "no space".

    Raises:
        NoRoomError: The disk, a quota or a limit on the size of files is exhausted.
    """
    try:
        yield
    except Exception as error:
        if reason := why_full(error):
            raise no_room(path, size, reason) from error
        raise


def require_writable(path: Path) -> None:
    """Refuse a place that cannot be written, such as one on a read-only disk or below a file.

    Raises:
        OSError: Nothing can be written there.
    """
    place = _existing(path)
    if place == path and not path.is_dir():
        place = path.absolute().parent
    if not place.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not os.access(place, os.W_OK | os.X_OK):
        number = errno.EROFS if os.statvfs(place).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number), str(path))


def why_full(error: Exception) -> str | None:
    """Return the system's message for a full disk, if that is what an error is about.

    Libraries may pass on the message without the number; numpy says only how much was written.
    """
    if isinstance(error, NoRoomError):
        return str(error).partition(":")[0]
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno in _FULL else None
    if isinstance(error, OSError) and "requested and" in str(error):
        return os.strerror(errno.ENOSPC)
    return next((words for words in map(os.strerror, _FULL) if words in str(error)), None)


def no_room(path: Path, size: int, reason: str) -> NoRoomError:
    """Return the error that says what does not fit, and how much is missing."""
    return NoRoomError(
        f"{reason}: at least {size:,} bytes are needed, and {_free(path):,} are free",
        where=str(path),
        hint="free some space and give the command again; training continues with --resume",
    )


def _free(path: Path) -> int:
    """Return the free bytes at the place of a file or folder."""
    while True:
        place = _existing(path)
        with suppress(FileNotFoundError):  # another process may be replacing it just now
            return shutil.disk_usage(place).free


def _existing(path: Path) -> Path:
    """Return the path, or its nearest parent that exists."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())
