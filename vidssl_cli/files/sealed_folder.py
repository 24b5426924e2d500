"""Files that others rely on: they appear whole or not at all, and are checked before they are read.

A *published folder* holds ``manifest.json`` beside its files: the SHA-256 and the size of each.
Parsers of weights and indexes accept damaged bytes silently, so `verify` checks every byte before
anything is parsed.

A *noted file* is one that people may change too. Its SHA-256 is in a file next to it, in the form
of ``sha256sum --check``; who changes the file on purpose deletes that note.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write, draft, hidden_folder, replace_folder, sync_folder
from vidssl_cli.files.locks import flock
from vidssl_cli.files.untrusted_text import require_regular, understood

MANIFEST = "manifest.json"
_HINT = "restore the folder from a copy, or make it again"


def publish(folder: Path, write: Callable[[Path], None], *, size: int = 0) -> None:
    """Publish a folder whole: ``write`` fills a temporary one, which is sealed and renamed.

    After a crash there is the folder as it was, or the new one, never a part. A folder that exists
    is replaced by two renames, between which there is none (after a crash, until `sweep`); readers
    that must not see that use `point` or a pointer file.

    Args:
        folder: What to publish; its parent is made if it does not exist.
        write: Receives an empty folder to write into; may make subfolders.
        size: About how many bytes will be written, if known.

    Raises:
        NoRoomError: It does not fit; what was there is unchanged.
    """
    with draft(folder, size) as hidden:
        fresh = hidden / "fresh"
        fresh.mkdir()
        write(fresh)
        _seal(fresh)
        replace_folder(fresh, folder, hidden)


def verify(folder: Path, *needed: str) -> dict[str, str]:
    """Check every file of a published folder against its manifest.

    Files that the manifest does not name are ignored, and must not be read.

    Args:
        folder: A folder made by `publish`.
        needed: Names of files that will be read.

    Returns:
        SHA-256 of each file by its name, which is relative to the folder, with forward slashes.

    Raises:
        DamagedFileError: A file is missing or has changed, or the manifest does not name one that
            is needed.
    """
    files = listed(folder, *needed)
    return {name: _check(folder / name, size, digest) for name, (size, digest) in files.items()}


def intact(folder: Path, name: str) -> Path:
    """Return the path of one file of a published folder, after checking it and no other.

    Raises:
        DamagedFileError: It is missing or has changed.
    """
    size, digest = listed(folder, name)[name]
    _check(folder / name, size, digest)
    return folder / name


def listed(folder: Path, *needed: str) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file by its name, as the manifest has them.

    Raises:
        DamagedFileError: The manifest is damaged, or does not name a file that is needed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DamagedFileError(
            f"there is no {MANIFEST}, which lists the files of the folder",
            where=str(folder),
            hint=_HINT,
        )
    with understood(path):
        rows = sealed_json.read(path, _HINT)["files"].items()
        files = {name: (int(row["size"]), str(row["sha256"])) for name, row in rows}
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamagedFileError(
                f"the manifest names {name!r}, which is outside of the folder", where=str(path),
                hint="do not use this folder: its manifest was tampered with",
            )  # fmt: skip
    if missing := [name for name in needed if name not in files]:
        raise DamagedFileError(
            f"the manifest does not name {missing[0]}", where=str(path), hint=_HINT
        )
    return files


def write_noted(path: Path, content: bytes) -> None:
    """Replace a file in one step, and write its SHA-256 next to it.

    After a crash the file may have no note, but never a wrong one.
    """
    note = note_of(path)
    note.unlink(missing_ok=True)
    atomic_write(path, content)
    atomic_write(note, _note(path, hashlib.sha256(content).hexdigest()))


def check_note(path: Path) -> None:
    """Compare a file with the note of its SHA-256, if there is one.

    Raises:
        DamagedFileError: They differ.
    """
    note = _read_note(path)
    while note is not None:
        found = sha256(path)
        if (now := _read_note(path)) != note:  # it was replaced meanwhile
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
    """Return the path of the note of a file's SHA-256."""
    return path.with_name(f"{path.name}.sha256")


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Prevent `discard` of a published folder while it is read; needs no write access."""
    require_regular(folder / MANIFEST)
    with ExitStack() as opened:
        with suppress(FileNotFoundError):  # `verify` reports it
            flock(opened.enter_context((folder / MANIFEST).open("rb")), fcntl.LOCK_SH)
        yield


def discard(folder: Path) -> None:
    """Delete a published folder in one step, unless it is held; a later call deletes it then.

    Readers never see a part of it, also after a crash.
    """
    try:
        with (folder / MANIFEST).open("r+b") as file:
            if flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
                _remove(folder)  # who waits for the lock finds nothing
    except FileNotFoundError:  # it was never published
        _remove(folder)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: It cannot be read, or is a pipe or the like, which might never end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    """Write the manifest of a folder and flush all of it to the disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (folder / MANIFEST).write_bytes(sealed_json.render({"files": files}))
    mode = (folder / MANIFEST).stat().st_mode
    for name in files:
        (folder / name).chmod(mode)  # safetensors makes files that only their owner can read
    for path in [*folder.rglob("*"), folder]:
        sync_folder(path) if path.is_dir() else _sync_file(path)


def _read_note(path: Path) -> bytes | None:
    require_regular(note_of(path))
    try:
        with note_of(path).open("rb") as file:
            return file.read(len(_note(path, "0" * 64)) + 1)  # a longer file is no note
    except FileNotFoundError:
        return None


def _note(path: Path, digest: str) -> bytes:
    """Return a line as ``sha256sum`` writes it."""
    return f"{digest}  ".encode() + os.fsencode(path.name) + b"\n"


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
    with hidden_folder(folder) as place:
        os.rename(folder, place / folder.name)


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
