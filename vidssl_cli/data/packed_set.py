"""What a packed set is: videos whose pictures were decoded once, at the size that training wants.

A packed set is a folder that `vidssl data pack` makes:

    pack.json      what it holds and how it was made; the SHA-256 of videos.jsonl, the size of
                   every part, and its own SHA-256
    videos.jsonl   a manifest; every row says where the video's pictures are, and their SHA-256
    part-*.bin     the pictures, video after video: (T, 3, H, W) uint8 in the raw format;
                   T JPEGs, then the table of their T + 1 offsets, in the compact one;
                   then, if asked for, optical flow: T - 1 fields, then the table of T offsets
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import PACK_AGAIN, Video
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.files import sealed_json
from vidssl_cli.files.confine import HINT, Root
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.files.untrusted_text import understood

ABOUT = "pack.json"
VIDEOS = "videos.jsonl"


def is_packed_set(folder: Path) -> bool:
    """Tell whether a folder is a packed set, finished or not, perhaps damaged."""
    parts = folder.glob("part-*.bin")
    return (folder / ABOUT).is_file() or ((folder / VIDEOS).is_file() and any(parts))


def read_about(folder: Path) -> dict[str, Any]:
    """Return what a packed set says of itself.

    Raises:
        DamagedFileError: It is damaged or missing.
    """
    path = folder / ABOUT
    with understood(path):
        about = sealed_json.read(path, PACK_AGAIN)
        about["settings"], about["videos"]  # fail here if there are none
    return about


def read_set(folder: Path, root: Root | None = None) -> list[Video]:
    """Return the videos of a packed set.

    Args:
        folder: The set.
        root: What its files must lie in: the set itself if not given.

    Raises:
        UsageError: Packing has not finished.
        DamagedFileError: The set's table is not the one that was written, or names pictures
            elsewhere.
    """
    about = read_about(folder)
    if about["videos"] is None:
        raise UsageError(
            f"packing {folder} has not finished",
            where=str(folder),
            hint="the same `vidssl data pack` again goes on where it stopped",
        )
    table = folder / VIDEOS
    found = sha256(table) if table.is_file() else "missing"
    if found != about["videos"]:
        raise DamagedFileError(
            f"is not the table that was written: its SHA-256 is {found}, not {about['videos']}",
            where=str(table),
            hint=f"{PACK_AGAIN}; rows of your own go into a copy",
        )
    with understood(folder / ABOUT):
        parts = list(about["parts"].items())
    for name, size in parts:
        part = folder / name
        if not part.is_file() or part.stat().st_size != size:
            there = f"{part.stat().st_size} bytes" if part.is_file() else "missing"
            raise DamagedFileError(
                f"is damaged: it is {there}, not {size} bytes", where=str(part), hint=PACK_AGAIN
            )
    videos, bounds = read_manifest(table), root or Root(folder)
    for path in {video.packed.path for video in videos if video.packed}:
        if not bounds.holds(path):
            raise DamagedFileError(f"names {path}, out of {bounds}", where=str(table), hint=HINT)
    return videos


def is_changed(video: Video) -> bool:
    """Tell whether a packed video's own file, if it is there at all, holds other bytes now."""
    packed = video.packed
    assert packed
    try:
        status = os.stat(video.path)
    except OSError:  # a packed set needs no sources
        return False
    if not stat.S_ISREG(status.st_mode):
        return True
    if (status.st_size, status.st_mtime_ns) == (packed.source_bytes, packed.source_mtime_ns):
        return False
    return not os.path.isfile(video.path) or sha256(Path(video.path)) != packed.source_sha256
