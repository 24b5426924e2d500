"""Make packed sets: every video is decoded once and its pictures kept at the size of training.

What is there is checked and kept, `pack_parts` writes what is missing, and a table of all videos
makes it a set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av

from vidssl_cli.base.console import say, track, warn
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.engine import Engine
from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.base.wording import share
from vidssl_cli.contract.videos import FlowMethod, Packed, Video
from vidssl_cli.data.manifest import digest, read_manifest, write_manifest
from vidssl_cli.data.pack_parts import number_of, write_parts
from vidssl_cli.data.pack_video import Format, Settings
from vidssl_cli.data.packed_set import ABOUT, VIDEOS, is_changed, is_packed_set, read_about
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write, sweep
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.locks import locked
from vidssl_cli.files.sealed_folder import note_of, sha256
from vidssl_cli.media.decode import stream_planes
from vidssl_cli.media.flow import opencv
from vidssl_cli.media.packed import digest_of

QUALITY = 5
"""Quantiser of the JPEGs, from 2 (best) to 31. UCF101's files at 128x171 become 1.3 times their
size; docs/performance.md compares it with others and with video codecs."""

_SAMPLED_VIDEOS, _SAMPLED_FRAMES = 24, 8
"""What the size is estimated from."""


@dataclass(frozen=True)
class Made:
    """What packing did."""

    videos: list[Video]
    """Rows of the set."""
    broken: list[MediaError]
    """Videos that could not be decoded."""
    bytes: int
    """Of the pictures, and of the flow."""
    source_bytes: int
    """Of the files that they come from."""


def pack(
    data: Sequence[Video],
    out: Path,
    *,
    resize: tuple[int, int] | int,
    form: Format = "compact",
    flow: FlowMethod | None = None,
    workers: int | None = None,
    engine: Engine | None = None,
) -> Made:
    """Make a packed set, or go on with one that was begun, or bring one up to date.

    Pictures that are there are checked; those that are damaged or whose source has changed are
    made anew. The set holds the videos of ``data`` and no others.

    Args:
        data: The videos, with their facts.
        out: Folder of the set.
        resize: (height, width) of the pictures, or the length of their short side.
        form: ``compact`` keeps JPEGs, ``raw`` keeps pixels as they are.
        flow: How to compute the optical flow between neighbouring frames, which is kept beside the
            pictures; None keeps none.
        workers: Videos decoded at a time; one per core if None.
        engine: Packs instead of that many threads; what it writes must be seen here.

    Raises:
        UsageError: ``out`` holds something else, or OpenCV is missing.
        NoRoomError: The disk is too small.
        VidsslError: Another process is writing this set.
    """
    if any(video.packed for video in data):
        raise UsageError("DATA is packed already", hint="name the videos that it was made from")
    # Last, whether it is a set: another process may be about to begin one, by what makes it a set.
    if out.exists() and any(out.glob("[!.]*")) and not is_packed_set(out):
        raise UsageError(f"{out} holds something else than a packed set", where=str(out))
    if flow:
        opencv()
    settings = Settings(resize, form, QUALITY if form == "compact" else None, flow)
    with locked(out, "vidssl data pack"):
        finished, begun = _resume(out, settings)
        rows = {row.path: row for row in track(finished + begun, "checking") if _is_intact(row)}
        missing = [video for video in data if video.path not in rows]
        if missing:
            _check_room(missing, len(data), out, settings)
        unchanged = {row.path for row in finished if row.path in rows}
        wanted = [video for video in data if video.path not in unchanged]
        numbers = [number_of(Path(row.packed.path)) for row in finished if row.packed]
        first = max(numbers, default=-1) + 1
        threads = workers or usable_cores()
        broken = write_parts(wanted, rows, out, settings, threads, first, engine)
        kept = [_named_like(rows[video.path], video) for video in data if video.path in rows]
        if not kept:
            raise UsageError("none of the videos could be packed", hint="the warnings say why")
        _finish(out, settings, kept)
    return Made(
        kept,
        broken,
        sum(_size(row.packed) for row in kept if row.packed),
        sum(row.packed.source_bytes for row in kept if row.packed),
    )


def _size(packed: Packed) -> int:
    """Return the bytes of a video's pictures and flow."""
    return packed.bytes + (packed.flow.bytes if packed.flow else 0)


def _named_like(row: Video, video: Video) -> Video:
    """Return the row with the label, split and group that DATA gives now."""
    return replace(row, label=video.label, split=video.split, group=video.group)


def _resume(out: Path, settings: Settings) -> tuple[list[Video], list[Video]]:
    """Return the rows of the set, and those of parts that an interrupted run has added to it."""
    sweep(out)
    if not is_packed_set(out):
        _describe(out, settings, None)
    wanted = settings.as_document()
    try:
        found = read_about(out)["settings"]
    except DamagedFileError as error:
        warn(f"{error.where}: {error}; everything is packed anew")
        _delete_unused(out, [])
        _describe(out, settings, None)
        return [], []
    if found != wanted:
        raise UsageError(
            f"{out} was packed with {_described(found)}, not with {_described(wanted)}",
            where=str(out),
            hint="choose another --out, or delete that folder",
        )
    finished = _intact_rows(out / VIDEOS) if (out / VIDEOS).is_file() else []
    begun = [row for journal in sorted(out.glob("part-*.jsonl")) for row in _intact_rows(journal)]
    _delete_unused(out, finished + begun)
    return finished, begun


def _intact_rows(table: Path) -> list[Video]:
    """Return the rows of a table, or none if it is damaged."""
    try:
        return read_manifest(table)
    except DamagedFileError as error:
        warn(f"{table}: {error}; its videos are packed anew")
        return []


def _described(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in settings.items() if value is not None)


def _describe(out: Path, settings: Settings, rows: Sequence[Video] | None) -> None:
    """Write what the set is; without rows it is one that has not been finished."""
    about: dict[str, Any] = {"settings": settings.as_document(), "videos": None}
    if rows is not None:
        about["videos"] = sha256(out / VIDEOS)
        parts = {Path(row.packed.path) for row in rows if row.packed}
        about["parts"] = {part.name: part.stat().st_size for part in sorted(parts)}
        about["source"] = digest([replace(row, packed=None) for row in rows])
    about["made_by"] = {name: version(name) for name in ("vidssl", "av")}
    if settings.flow:
        about["made_by"]["opencv"] = opencv().__version__
    about["made_by"] |= {name: av.library_versions[name] for name in ("libavcodec", "libswscale")}
    atomic_write(out / ABOUT, sealed_json.render(about))


def _delete_unused(out: Path, rows: Sequence[Video]) -> None:
    """Delete parts that no row points to, among them those whose writer died too early."""
    used = {row.packed.path for row in rows if row.packed}
    for part in out.glob("part-*.bin"):
        if os.path.abspath(part) not in used:
            part.unlink()


def _is_intact(row: Video) -> bool:
    """Tell whether a row's bytes are those that were written and its source has not changed."""
    if row.packed is None or is_changed(row):
        return False
    try:
        with open(row.packed.path, "rb", buffering=0) as file:
            flow = row.packed.flow
            intact = digest_of(row.packed, file) == row.packed.sha256
            return intact and (flow is None or digest_of(flow, file) == flow.sha256)
    except OSError:
        return False


def _check_room(videos: Sequence[Video], of: int, out: Path, settings: Settings) -> None:
    """Say how many bytes the videos will take, from a few of them; refuse if there is no room."""
    pixels = written = 0
    for video in videos[:: max(1, len(videos) // _SAMPLED_VIDEOS)]:
        height, width = settings.size(video)
        coder = settings.coder((height, width))
        try:
            frames = range(min(_SAMPLED_FRAMES, video.frames or 1))
            for picture in stream_planes(video, frames, (height, width)):
                written += sum(len(piece) for piece in coder(picture) if piece)
                pixels += height * width
        except MediaError:
            continue  # it will be told when its turn comes
    total = sum((v.frames or 1) * settings.size(v)[0] * settings.size(v)[1] for v in videos)
    size = round(total * written / max(1, pixels))
    say(f"{share(len(videos), of, 'video')} to pack, which will take about {size / 1e9:.2f} GB")
    require_room(out, size, "the set; another place, a smaller size or --format compact may do")


def _finish(out: Path, settings: Settings, rows: Sequence[Video]) -> None:
    """Publish the table of all videos, then clear away what it makes superfluous."""
    write_manifest(out / VIDEOS, rows)
    _describe(out, settings, rows)
    for journal in out.glob("part-*.jsonl"):
        note_of(journal).unlink(missing_ok=True)
        journal.unlink()
    _delete_unused(out, rows)
