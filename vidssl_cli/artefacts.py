"""Files that others rely on: they appear whole or not at all, and are checked before they are read.

A *published folder* holds ``manifest.json`` beside its files: the SHA-256 and the size of each.
Parsers of weights and indexes accept damaged bytes without a word, so nothing is parsed before
`verify` has seen that every byte is the one that was written.

Whatever is written begins in a *draft*: a hidden neighbour of its place, whose lock is held as long
as its process lives. So any process can tell what a dead one left, whatever their process ids are.

A *noted file* is one that people may change too. Its SHA-256 lies beside it, in the form that
``sha256sum --check`` takes; whoever changes the file on purpose deletes the note.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from vidssl_cli import sealed
from vidssl_cli.documents import understood
from vidssl_cli.errors import DamagedFileError, NoRoomError, VidsslError

MANIFEST = "manifest.json"
LOCK = ".lock"
"""File in a folder that its writer locks."""

_HINT = "restore the folder from a copy, or make it again"
_OLD = "old"
"""Folder of a draft for what is about to be replaced."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PATIENCE = 10
"""Tries to learn who has a lock, a tenth of a second apart."""


def publish(folder: Path, write: Callable[[Path], None], *, size: int = 0) -> None:
    """Make a folder appear whole: let ``write`` fill a temporary one, seal it, rename it.

    After a crash at any moment there is the folder as it was before, or the new one, never a part.
    A folder that is there already is replaced; between the two renames of that there is none (after
    a crash until `sweep`), so readers that must never meet the gap go through `point` or a pointer
    file instead.

    Args:
        folder: Where the files shall be; its parent is made if need be.
        write: Receives an empty folder to write into; may make subfolders.
        size: Bytes that will be written, about, if that is known.

    Raises:
        NoRoomError: It does not fit; what was there is as it was.
    """
    with _draft(folder, size) as draft:
        fresh = draft / "fresh"
        fresh.mkdir()
        write(fresh)
        _seal(fresh)
        _replace_folder(fresh, folder, draft)


def verify(folder: Path, *needed: str) -> dict[str, str]:
    """Check every file of a published folder against its manifest.

    Files that the manifest does not name are ignored: nobody may read them.

    Args:
        folder: A folder made by `publish`.
        needed: Names of files that are going to be read.

    Returns:
        SHA-256 of each file by its name, which is relative to the folder, with forward slashes.

    Raises:
        DamagedFileError: A file is missing or is not the one that was written, or the manifest
            does not name one that is needed.
    """
    files = _read_manifest(folder, needed)
    return {name: _check(folder / name, size, digest) for name, (size, digest) in files.items()}


def intact(folder: Path, name: str) -> Path:
    """Return the path of one file of a published folder, after checking it and no other.

    Raises:
        DamagedFileError: It is missing or is not the one that was written.
    """
    size, digest = _read_manifest(folder, [name])[name]
    _check(folder / name, size, digest)
    return folder / name


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file in one step: readers see the old content or the new, also after a crash.

    Raises:
        NoRoomError: It does not fit; the old file is as it was.
    """
    content = content.encode() if isinstance(content, str) else content
    with replacing(path, size=len(content)) as file:
        file.write(content)


def write_noted(path: Path, content: bytes) -> None:
    """Replace a file in one step, and note its SHA-256 beside it.

    After a crash the file may lack its note, but never has that of another one.
    """
    note = note_of(path)
    note.unlink(missing_ok=True)
    atomic_write(path, content)
    atomic_write(note, _note(path, hashlib.sha256(content).hexdigest()))


def check_note(path: Path) -> None:
    """Compare a file with the note of its SHA-256, if there is one.

    Raises:
        DamagedFileError: The file is not the one that was noted.
    """
    note = _read_note(path)
    while note is not None:
        found = sha256(path)
        if (now := _read_note(path)) != note:  # it was written anew meanwhile
            note = now
        elif note == _note(path, found):
            return
        else:
            raise DamagedFileError(
                f"the file's SHA-256 is {found}, which is not what {note_of(path).name} says",
                where=str(path),
                hint="restore it from a copy; if it was changed on purpose, delete "
                f"{note_of(path)}",
            )


def note_of(path: Path) -> Path:
    """Return where the SHA-256 of a file is noted."""
    return path.with_name(f"{path.name}.sha256")


@contextmanager
def replacing(path: Path, *, size: int = 0) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` in one step, once all of it is on the disk.

    Args:
        path: The file.
        size: Bytes that will be written, about, if that is known.

    Raises:
        NoRoomError: It does not fit; the old file is as it was.
    """
    with _draft(path, size) as draft:
        with (draft / "fresh").open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft / "fresh", path)
        _sync_folder(path.parent)


def require_room(path: Path, size: int, what: str = "this") -> None:
    """Refuse to begin what cannot be finished.

    Args:
        path: What will be written.
        size: Its bytes.
        what: Its name in the message.

    Raises:
        NoRoomError: The disk has fewer bytes left.
    """
    if size > _free(path):
        raise _no_room(path, size, f"there is no room for {what}")


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """Tell which file did not fit, and how large it is, where the system only says "no space".

    Raises:
        NoRoomError: The disk, a quota or a limit on the size of files is exhausted.
    """
    try:
        yield
    except Exception as error:
        if reason := _why_full(error):
            raise _no_room(path, size, reason) from error
        raise


def require_writable(path: Path) -> None:
    """Refuse to begin what could not be kept, as on a read-only disk or below a file.

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


@contextmanager
def locked(folder: Path, maker: str) -> Iterator[None]:
    """Keep other writers away from a folder, which is made if need be; readers need no lock.

    The lock goes with the process, however that ends. Other machines see it where the file system
    shares locks, as NFS does; where there are none, nobody is kept away.

    Args:
        folder: What is written.
        maker: The command that writes it, for the message.

    Raises:
        VidsslError: Another process is writing it; the message says which.
    """
    _make(folder)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if (holder := _take(file)) is not None:
            raise VidsslError(
                f"another `{maker}` is writing here{holder}", where=str(folder),
                hint="wait until it is done and try again",
            ) from None  # fmt: skip
        told = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now(), "argv": sys.argv}
        with room_for(folder / LOCK, len(json.dumps(told))):
            file.truncate(0)
            file.write(json.dumps(told))
            file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def is_locked(folder: Path) -> bool:
    """Tell whether a process is in `locked` with this folder."""
    try:
        with (folder / LOCK).open() as file:
            return not _flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False


def point(link: Path, target: str) -> None:
    """Make a symbolic link point to ``target``, relative to its own folder, in one step."""
    with _draft(link) as draft:
        os.symlink(target, draft / "fresh")
        os.replace(draft / "fresh", link)
        _sync_folder(link.parent)


def sweep(folder: Path) -> None:
    """Clear away what processes of this machine that were killed left half done in a folder.

    A folder that was about to be replaced is put back.
    """
    for draft in folder.glob(f"{_prefix()}*"):
        # A lock rather than a process id: ids are used again, and containers have their own.
        with suppress(OSError), (draft / LOCK).open("a") as file:
            if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, or_else=False):
                _clear(draft)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep `discard` from a published folder while it is read; needs no write access."""
    with ExitStack() as opened:
        with suppress(FileNotFoundError):  # `verify` tells that best
            _flock(opened.enter_context((folder / MANIFEST).open("rb")), fcntl.LOCK_SH)
        yield


def discard(folder: Path) -> None:
    """Delete a published folder in one step, unless somebody holds it: a later call does then.

    Nobody meets the half of it, also after a crash.
    """
    try:
        with (folder / MANIFEST).open("r+b") as file:
            if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _remove(folder)  # whoever waits for the lock finds nothing to read
    except FileNotFoundError:  # it was never published
        _remove(folder)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read, or is a pipe or the like, which could keep us waiting for ever.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    """Write the manifest of a folder and bring everything to disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (folder / MANIFEST).write_bytes(sealed.render({"files": files}))
    mode = (folder / MANIFEST).stat().st_mode
    for name in files:
        (folder / name).chmod(mode)  # safetensors hides its files from everybody else
    for path in [*folder.rglob("*"), folder]:
        _sync_folder(path) if path.is_dir() else _sync_file(path)


def _read_note(path: Path) -> bytes | None:
    try:
        return note_of(path).read_bytes()
    except FileNotFoundError:
        return None


def _note(path: Path, digest: str) -> bytes:
    """Return a line as ``sha256sum`` writes it."""
    return f"{digest}  ".encode() + os.fsencode(path.name) + b"\n"


def _read_manifest(folder: Path, needed: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file by its name."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DamagedFileError(
            f"there is no {MANIFEST}, so nothing says what belongs here",
            where=str(folder),
            hint=_HINT,
        )
    with understood(path):
        rows = sealed.read(path, _HINT)["files"].items()
        files = {name: (int(row["size"]), str(row["sha256"])) for name, row in rows}
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamagedFileError(
                f"the manifest names {name!r}, which is outside of the folder", where=str(path),
                hint="do not use this folder: somebody tampered with it",
            )  # fmt: skip
    if missing := [name for name in needed if name not in files]:
        raise DamagedFileError(
            f"the manifest does not name {missing[0]}", where=str(path), hint=_HINT
        )
    return files


def _check(path: Path, size: int, digest: str) -> str:
    if not path.is_file():
        raise DamagedFileError(
            f"the file is missing; its SHA-256 was {digest}", where=str(path), hint=_HINT
        )
    if path.stat().st_size != size:
        raise DamagedFileError(
            f"the file is damaged: it has {path.stat().st_size} bytes, not the {size} with the "
            f"SHA-256 {digest}",
            where=str(path),
            hint=_HINT,
        )
    found = sha256(path)
    if found != digest:
        raise DamagedFileError(
            f"the file is damaged: its SHA-256 is {found}, not {digest}",
            where=str(path),
            hint=_HINT,
        )
    return found


def _remove(folder: Path) -> None:
    with _bench(folder) as bench:
        os.rename(folder, bench / folder.name)


def _replace_folder(fresh: Path, folder: Path, draft: Path) -> None:
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
    _sync_folder(folder.parent)


@contextmanager
def _draft(target: Path, size: int = 0) -> Iterator[Path]:
    """Make a hidden folder in which to write what shall be at ``target``; it is gone afterwards.

    Raises:
        NoRoomError: There is no room, now or while it is written.
    """
    require_room(target, size)
    try:
        with _bench(target) as draft:
            try:
                yield draft
            except Exception:
                written = sum(path.lstat().st_size for path in draft.rglob("*") if path.is_file())
                size = max(size, written)
                raise
    except Exception as error:  # only now that the draft is gone is it known what is free
        if reason := _why_full(error):
            raise _no_room(target, size, reason) from error
        raise


@contextmanager
def _bench(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside ``target``, and hold its lock."""
    try:
        _make(target.parent)
        sweep(target.parent)
        draft, lock = _claim(target.parent)
    except OSError as error:  # about a name that nobody has ever seen
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        yield draft
    finally:
        _clear(draft)
        lock.close()


def _prefix() -> str:
    """Return what the names of this machine's drafts begin with."""
    return f".tmp-{socket.gethostname()}-"


def _clear(draft: Path) -> None:
    """Remove a draft that is locked; what was about to be replaced, and was not, is put back."""
    for old in draft.glob(f"{_OLD}/*/*"):
        if not (draft.parent / old.name).exists():
            with suppress(OSError):  # another process may have put something there since
                os.rename(old, draft.parent / old.name)
    shutil.rmtree(draft, ignore_errors=True)


def _make(folder: Path) -> None:
    """Make a folder if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        number = errno.ENOTDIR
        raise NotADirectoryError(number, os.strerror(number), str(folder)) from None


def _claim(parent: Path) -> tuple[Path, IO[str]]:
    """Make a hidden folder; return it with its lock."""
    while True:
        draft = parent / f"{_prefix()}{uuid.uuid4().hex}"
        draft.mkdir()
        with suppress(FileNotFoundError), ExitStack() as opened:
            lock = opened.enter_context((draft / LOCK).open("a"))
            _flock(lock, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(lock.fileno()), (draft / LOCK).stat()):
                opened.pop_all()
                return draft, lock
        # It was swept before it was locked: once more.


def _flock(file: IO[Any], operation: int, *, or_else: bool = True) -> bool:
    """Lock an open file; return False if another process has the lock.

    Args:
        file: What to lock.
        operation: As for `fcntl.flock`.
        or_else: What to return where the file system knows no locks.
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


def _take(file: IO[str]) -> str | None:
    """Lock a file for writing; return who has the lock if that cannot be had."""
    holder = ""
    for _ in range(_PATIENCE):
        if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return None
        file.seek(0)
        if holder := _holder(file.read()):
            break
        time.sleep(0.1)  # it may not have written its name yet, or have looked only
    return holder


def _holder(content: str) -> str:
    """Put what a lock says of its holder into words; nothing if that process is gone."""
    try:
        told = json.loads(content)
        pid, host, since = int(told["pid"]), str(told["host"]), str(told["since"])
        command = shlex.join(["vidssl", *map(str, told["argv"][1:])])
    except (ValueError, LookupError, TypeError):
        return ""
    if host == socket.gethostname() and not _alive(pid):
        return ""
    return f": process {pid} on {host} since {since}, `{command}`"


def _why_full(error: Exception) -> str | None:
    """Return the system's words for a lack of room, if that is what an error is about.

    Libraries that write by themselves pass on the words, not the number; numpy says only how much
    was written.
    """
    if isinstance(error, NoRoomError):
        return str(error).partition(":")[0]
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno) if error.errno in _FULL else None
    if isinstance(error, OSError) and "requested and" in str(error):
        return os.strerror(errno.ENOSPC)
    return next((words for words in map(os.strerror, _FULL) if words in str(error)), None)


def _no_room(path: Path, size: int, reason: str) -> NoRoomError:
    return NoRoomError(
        f"{reason}: at least {size:,} bytes are needed, and {_free(path):,} are free",
        where=str(path),
        hint="make room and give the command again; a training goes on with --resume",
    )


def _free(path: Path) -> int:
    """Return the bytes that are left where a file or folder is or will be."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def _now() -> str:
    return datetime.now().astimezone().isoformat(" ", timespec="seconds")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
