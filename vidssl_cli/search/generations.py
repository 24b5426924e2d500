"""Generations of an index: folders that are published whole, and a pointer to the newest.

    CURRENT               the newest generation, and the SHA-256 of its manifest
    generation-000002/    what `vidssl_cli.search.store` describes
    generation-000001/    the one before, for readers that still have it open
    segment-000001/       videos and their features, of both generations perhaps
    encoder-9f86d081/     the exported model
    shard-2-of-4/         what `vidssl_cli.search.shards` embedded, until it is merged

Readers see whole generations only, whatever a builder does meanwhile.
"""

from __future__ import annotations

import re
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write, sweep
from vidssl_cli.files.sealed_folder import MANIFEST, discard, sha256
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.files.verified import note_of

POINTER, LAYOUT = "CURRENT", "index.json"
HINT = "restore the index from a copy, or index the data again with --overwrite"
"""What to do about a damaged index."""

SHARDS, SHARD = "shard-[0-9]*-of-[0-9]*", "shard.json"
"""Folders of shards, and what each says of itself once it is done."""

_GENERATIONS, _SEGMENTS, _ENCODERS = "generation-[0-9]*", "segment-[0-9]*", "encoder-[0-9a-f]*"
_NAME = re.compile(r"generation-\d+")


def is_index(folder: Path) -> bool:
    """Tell whether a folder holds an index."""
    return (folder / POINTER).is_file()


def is_foreign(folder: Path) -> bool:
    """Tell whether a folder holds something else than an index, or one that was never finished."""
    found = {path.name for path in folder.glob("[!.]*")}
    own = {
        path.name
        for kind in (_GENERATIONS, _SEGMENTS, _ENCODERS, SHARDS)
        for path in folder.glob(kind)
    }
    return POINTER not in found and not found <= own


def read_pointer(folder: Path) -> tuple[str, str]:
    """Return the name of the newest generation, and the SHA-256 of its manifest.

    Raises:
        UsageError: The folder is not an index.
        DamagedFileError: The pointer is damaged or missing.
    """
    path = folder / POINTER
    if not path.is_file() and not any(folder.glob("generation-*")):
        raise UsageError(
            f"{folder} is not an index: it has no {POINTER}",
            where=str(folder),
            hint=f"its shards are not merged yet: vidssl merge {folder}"
            if any(folder.glob(SHARDS))
            else "give the folder that --out named in `vidssl index`",
        )
    with understood(path):
        pointer = sealed_json.read(path, HINT)
        name: str = pointer["generation"]
        digest: str = pointer["manifest"]
        known = _NAME.fullmatch(name)
    if not known:
        raise missing_generation(folder, name, digest)
    return name, digest


def write_pointer(folder: Path, name: str) -> None:
    """Make a generation the newest, and delete those that no reader needs."""
    pointer = {"generation": name, "manifest": sha256(folder / name / MANIFEST)}
    atomic_write(folder / POINTER, sealed_json.render(pointer))
    tidy(folder)


def next_name(folder: Path) -> str:
    """Name the next generation; what a killed builder left under this name is replaced."""
    try:
        newest = _number(read_pointer(folder)[0])
    except (UsageError, DamagedFileError):
        newest = 0
    return f"generation-{newest + 1:06d}"


def next_segment(folder: Path) -> Path:
    """Return where the next segment goes, whose name none had that a reader may have open."""
    newest = max((_number(path.name) for path in folder.glob(_SEGMENTS)), default=0)
    return folder / f"segment-{newest + 1:06d}"


def encoder_folder(folder: Path, digest: str) -> Path:
    """Return where the network with these weights is in an index."""
    return folder / f"encoder-{digest[:16]}"


def tidy(folder: Path) -> None:
    """Delete all generations but the newest and the one before, and what only they needed.

    What killed processes left is deleted too. A generation that is open stays, and what shards are
    to be merged from: a merge that was killed may have moved their segments already.

    Raises:
        DamagedFileError: The pointer to the newest is damaged.
    """
    sweep(folder)
    newest = _number(read_pointer(folder)[0]) if is_index(folder) else 0
    for path in folder.glob(_GENERATIONS):
        if not newest or _number(path.name) not in (newest - 1, newest):
            discard_part(path)
    told = (*folder.glob(f"{_GENERATIONS}/{LAYOUT}"), *folder.glob(f"{SHARDS}/{SHARD}"))
    needed = "".join(path.read_text() for path in told)
    for path in (*folder.glob(_SEGMENTS), *folder.glob(_ENCODERS)):
        names = (path.name, path.name.removeprefix("encoder-"))
        if not any(name in needed for name in names) and not has_digest(path, needed):
            discard_part(path)


def has_digest(part: Path, digests: str) -> bool:
    """Tell whether the SHA-256 of a sealed folder's manifest is among others."""
    return (part / MANIFEST).is_file() and sha256(part / MANIFEST) in digests


def segments_in(folder: Path) -> list[Path]:
    """Return the folders of segments, in any order."""
    return [*folder.glob(_SEGMENTS)]


def discard_part(path: Path) -> None:
    """Delete a sealed folder of an index, unless it is open."""
    discard(path)
    if not path.exists():  # nobody has it open
        note_of(path).unlink(missing_ok=True)


def missing_generation(folder: Path, name: str, digest: str) -> DamagedFileError:
    """Return the error for a pointer to a generation that is not there."""
    return DamagedFileError(
        f"there is no {name}, whose manifest had the SHA-256 {digest}",
        where=str(folder / POINTER),
        hint=HINT,
    )


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
