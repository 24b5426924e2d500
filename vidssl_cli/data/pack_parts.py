"""Write the parts of packed sets: videos decoded in parallel, each part with a journal.

A part is written under a temporary name, renamed, and then entered into its journal, so that a
process that dies leaves finished parts behind and the next goes on from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain, count
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from vidssl_cli.base.console import leave_out, track
from vidssl_cli.base.engine import Engine
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.data.pack_video import Settings, write_video
from vidssl_cli.files.atomic import replacing

PART_FRAMES = 8192
"""Frames of a part, unless one video has more: what a worker that is stopped has to repeat."""


def write_parts(
    videos: Sequence[Video],
    rows: dict[str, Video],
    out: Path,
    settings: Settings,
    workers: int,
    first: int,
    engine: Engine | None = None,
) -> list[MediaError]:
    """Pack what is not among ``rows`` yet, enter it there, and return what is wrong with others.

    The same videos always make the same parts, so that a set that was begun several times ends as
    one that was begun once.

    Args:
        videos: What is cut into parts.
        rows: Packed videos by their paths.
        out: Folder of the set.
        settings: How to pack.
        workers: Videos decoded at a time.
        first: Number of the first part.
        engine: Writes parts, instead of that many threads, where it sees the same files.
    """
    cut = list(cut_by_frames(videos, PART_FRAMES))
    left = [[video for video in part if video.path not in rows] for part in cut]
    spare = count(first + len(cut))
    if engine:
        jobs = [
            (part, _free(out, chain([number], spare)))
            for number, part in enumerate(left, first)
            if part
        ]
        found = engine.map(partial(_write_alone, settings), jobs)
        troubles: list[MediaError] = []
        for packed, broken in track(found, "packing parts", total=len(jobs)):
            rows |= {row.path: row for row in packed}
            for trouble in broken:
                leave_out(trouble, troubles)
        return troubles
    done: SimpleQueue[Exception | None] = SimpleQueue()
    stop = Event()
    pool = ThreadPoolExecutor(workers, "pack")
    try:
        parts = [
            pool.submit(_write_part, part, _free(out, chain([number], spare)), settings, done, stop)
            for number, part in enumerate(left, first)
            if part
        ]
        broken = list(_troubles(done, sum(map(len, left))))
        for part in parts:
            rows |= {row.path: row for row in part.result()}
    finally:  # also when Ctrl-C ends the wait
        stop.set()
        pool.shutdown(cancel_futures=True)
    return broken


def number_of(part: Path) -> int:
    """Return the number of a part."""
    return int(part.stem.removeprefix("part-"))


def _free(out: Path, numbers: Iterable[int]) -> Path:
    """Return the first part that is not there; one that is may have been left incomplete."""
    paths = (out / f"part-{number:05}.bin" for number in numbers)
    return next(path for path in paths if not path.exists())


def cut_by_frames(videos: Sequence[Video], most: int) -> Iterator[list[Video]]:
    """Cut videos into parts that end with the video that brings them to so many frames."""
    part: list[Video] = []
    frames = 0
    for video in videos:
        part.append(video)
        frames += video.frames or 0
        if frames >= most:
            yield part
            part, frames = [], 0
    if part:
        yield part


def _troubles(done: SimpleQueue[Exception | None], videos: int) -> Iterator[MediaError]:
    """Wait for every video; yield what is wrong with videos, raise what is wrong with workers."""
    for _ in track(range(videos), "packing"):
        trouble = done.get()
        if isinstance(trouble, MediaError):
            leave_out(trouble)
            yield trouble
        elif trouble:
            raise trouble


def _write_alone(
    settings: Settings, job: tuple[Sequence[Video], Path]
) -> tuple[list[Video], list[MediaError]]:
    """Write one part; return its rows, and what is wrong with other videos."""
    done: SimpleQueue[Exception | None] = SimpleQueue()
    rows = _write_part(*job, settings, done, Event())
    told = [done.get() for _ in job[0]]
    return rows, [trouble for trouble in told if isinstance(trouble, MediaError)]


def _write_part(
    videos: Sequence[Video],
    path: Path,
    settings: Settings,
    done: SimpleQueue[Exception | None],
    stop: Event,
) -> list[Video]:
    """Write one part and its journal; tell of every video when it is done."""
    rows = []
    try:
        with replacing(path) as file:
            for video in videos:
                trouble = None
                try:
                    packed = write_video(video, file, path, settings, stop)
                    rows.append(replace(video, packed=packed))
                except MediaError as error:
                    trouble = error
                done.put(trouble)
        write_manifest(path.with_suffix(".jsonl"), rows)
    except Exception as error:
        done.put(error)
        raise
    return rows
