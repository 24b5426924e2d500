"""Write the parts of packed sets: videos decoded in parallel, each part with a journal.

A part is written under a temporary name, renamed, and then entered into its journal, so that a
process that dies leaves finished parts behind and the next goes on from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from vidssl_cli.artefacts import replacing
from vidssl_cli.console import track, warn
from vidssl_cli.errors import MediaError
from vidssl_cli.pieces import Settings, write_video
from vidssl_cli.videos import Video, write_manifest

PART_FRAMES = 8192
"""Frames of a part, unless one video has more: what a worker that is stopped has to repeat."""


def write_parts(
    videos: Sequence[Video],
    rows: dict[str, Video],
    out: Path,
    settings: Settings,
    workers: int,
) -> list[MediaError]:
    """Pack the videos, enter them into ``rows``, and return what is wrong with the others."""
    taken = [int(part.stem.removeprefix("part-")) for part in out.glob("part-*.bin")]
    done: SimpleQueue[Exception | None] = SimpleQueue()
    stop = Event()
    pool = ThreadPoolExecutor(workers, "pack")
    try:
        parts = [
            pool.submit(_write_part, part, out / f"part-{number:05}.bin", settings, done, stop)
            for number, part in enumerate(_cut(videos), max(taken, default=-1) + 1)
        ]
        broken = list(_troubles(done, len(videos)))
        for part in parts:
            rows |= {row.path: row for row in part.result()}
    finally:  # also when Ctrl-C ends the wait
        stop.set()
        pool.shutdown(cancel_futures=True)
    return broken


def _cut(videos: Sequence[Video]) -> Iterator[list[Video]]:
    """Cut the videos into parts."""
    part: list[Video] = []
    frames = 0
    for video in videos:
        part.append(video)
        frames += video.frames or 0
        if frames >= PART_FRAMES:
            yield part
            part, frames = [], 0
    if part:
        yield part


def _troubles(done: SimpleQueue[Exception | None], videos: int) -> Iterator[MediaError]:
    """Wait for every video; yield what is wrong with videos, raise what is wrong with workers."""
    for _ in track(range(videos), "packing"):
        trouble = done.get()
        if isinstance(trouble, MediaError):
            warn(f"{trouble.where}: {trouble}; it is left out")
            yield trouble
        elif trouble:
            raise trouble


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
                if stop.is_set():
                    raise InterruptedError
                trouble = None
                try:
                    packed = write_video(video, file, path, settings)
                    rows.append(replace(video, packed=packed))
                except MediaError as error:
                    trouble = error
                done.put(trouble)
        write_manifest(path.with_suffix(".jsonl"), rows)
    except Exception as error:
        done.put(error)
        raise
    return rows
