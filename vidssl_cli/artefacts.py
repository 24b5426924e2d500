"""Files that others rely on: they appear whole or not at all, and are checked before they are read.

A *published folder* holds ``manifest.json`` beside its files: the SHA-256 and the size of each.
Parsers of weights and indexes accept damaged bytes without a word, so nothing is parsed before
`verify` has seen that every byte is the one that was written.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from vidssl_cli.documents import parse_json
from vidssl_cli.errors import DamagedFileError, VidsslError

MANIFEST = "manifest.json"
LOCK = ".lock"
"""File in a folder that its writer locks."""

_HINT = "restore the folder from a copy, or make it again"
_TEMPORARY = re.compile(r"\.tmp-(?P<host>.+)-(?P<pid>\d+)-[^-]+")


def publish(folder: Path, write: Callable[[Path], None]) -> None:
    """Make a folder appear whole: let ``write`` fill a temporary one, seal it, rename it.

    After a crash at any moment there is the folder as it was before, or the new one, never a part.
    A folder that is there already is replaced; between the two renames of that there is none, so
    readers that must never meet the gap go through `point` or a pointer file instead.

    Args:
        folder: Where the files shall be; its parent is made if need be.
        write: Receives an empty folder to write into; may make subfolders.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)
    fresh = _temporary(folder.parent)
    fresh.mkdir()
    try:
        write(fresh)
        _seal(fresh)
        _replace_folder(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def verify(folder: Path) -> dict[str, str]:
    """Check every file of a published folder against its manifest.

    Files that the manifest does not name are ignored: nobody reads them.

    Args:
        folder: A folder made by `publish`.

    Returns:
        SHA-256 of each file by its name, which is relative to the folder, with forward slashes.

    Raises:
        DamagedFileError: A file is missing or is not the one that was written.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise DamagedFileError(
            f"there is no {MANIFEST}, so nothing says what belongs here",
            where=str(folder),
            hint=_HINT,
        )
    return {
        name: _check(folder / name, entry["size"], entry["sha256"])
        for name, entry in _read_manifest(path).items()
    }


def atomic_write(path: Path, content: bytes | str) -> None:
    """Replace a file in one step: readers see the old content or the new, also after a crash."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` in one step, once all of it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    fresh = _temporary(path.parent)
    try:
        with fresh.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path, maker: str) -> Iterator[None]:
    """Keep other writers away from a folder, which is made if need be; readers need no lock.

    Args:
        folder: What is written.
        maker: The command that writes it, for the message.

    Raises:
        VidsslError: Another process is writing it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise VidsslError(
                f"another `{maker}` is writing here", where=str(folder),
                hint="wait until it is done and try again",
            ) from None  # fmt: skip
        yield


def is_locked(folder: Path) -> bool:
    """Tell whether a process is in `locked` with this folder."""
    try:
        with (folder / LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def point(link: Path, target: str) -> None:
    """Make a symbolic link point to ``target``, relative to its own folder, in one step."""
    link.parent.mkdir(parents=True, exist_ok=True)
    sweep(link.parent)
    fresh = _temporary(link.parent)
    try:
        os.symlink(target, fresh)
        os.replace(fresh, link)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(link.parent)


def sweep(folder: Path) -> None:
    """Remove what processes of this machine that are gone left half written in a folder."""
    for path in folder.glob(".tmp-*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or match["host"] != socket.gethostname() or _alive(int(match["pid"])):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(folder: Path) -> None:
    """Write the manifest of a folder and bring everything to disk."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            files[name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    (folder / MANIFEST).write_bytes(_render_manifest(files))
    mode = (folder / MANIFEST).stat().st_mode
    for name in files:
        (folder / name).chmod(mode)  # safetensors hides its files from everybody else
    for path in [*folder.rglob("*"), folder]:
        _sync_folder(path) if path.is_dir() else _sync_file(path)


def _render_manifest(files: dict[str, Any]) -> bytes:
    # The digest of the listing tells a damaged manifest from a damaged file.
    listing = json.dumps(files, sort_keys=True).encode()
    document = {"files": files, "sha256": hashlib.sha256(listing).hexdigest()}
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def _read_manifest(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    try:
        files: dict[str, Any] = parse_json(content)["files"]
        whole = _render_manifest(files) == content
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedFileError("the manifest is damaged", where=str(path), hint=_HINT)
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DamagedFileError(
                f"the manifest names {name!r}, which is outside of the folder", where=str(path),
                hint="do not use this folder: somebody tampered with it",
            )  # fmt: skip
    return files


def _check(path: Path, size: int, digest: str) -> str:
    if not path.is_file():
        raise DamagedFileError("the file is missing", where=str(path), hint=_HINT)
    if path.stat().st_size != size:
        raise DamagedFileError(
            f"the file has {path.stat().st_size} bytes, not the {size} of the manifest",
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


def _replace_folder(fresh: Path, folder: Path) -> None:
    old = None
    if folder.exists():
        old = _temporary(folder.parent)
        os.rename(folder, old)
    os.rename(fresh, folder)
    _sync_folder(folder.parent)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _temporary(parent: Path) -> Path:
    """Name a neighbour that does not exist yet and that `sweep` knows for what it is."""
    return parent / f".tmp-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}"


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
