"""How many files, and frames of them, do vidssl, FFmpeg, OpenCV and torchcodec use?

    python benchmarks/usable.py --data DIR [DIR …] [--json]

Every file below the folders is read by each library as its documentation shows it, once, from the
start. FFmpeg is PyAV with its defaults: a first packet that cannot be decoded ends a plain loop, so
errors of single packets are passed over, as the `ffmpeg` command does. OpenCV and torchcodec are
left out of the table where they are not installed. Files of which the numbers differ are listed,
with what vidssl says of them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import av

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.media.probe import probe

NO_MEDIA = (".csv", ".json", ".jsonl", ".md", ".sh", ".txt", "")
"""Endings of what lies beside videos."""


def by_ffmpeg(path: str) -> int:
    """Decode the stream that FFmpeg prefers."""
    frames = 0
    with av.open(path, metadata_errors="surrogateescape") as container:
        stream = container.streams.best("video")
        if not isinstance(stream, av.VideoStream):
            return 0
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            try:
                frames += len(packet.decode())
            except av.FFmpegError:
                continue
    return frames


def by_opencv(path: str) -> int:
    """Read until there is no frame."""
    import cv2

    frames = 0
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    while capture.grab():
        frames += 1
    return frames


def by_torchcodec(path: str) -> int:
    """Count what iterating over a decoder gives."""
    from torchcodec.decoders import VideoDecoder

    return sum(1 for _ in VideoDecoder(path))


READERS: Mapping[str, Callable[[str], int]] = {
    "FFmpeg": by_ffmpeg,
    "OpenCV": by_opencv,
    "torchcodec": by_torchcodec,
}


@dataclass(frozen=True)
class Row:
    """What became of a file."""

    path: str
    frames: dict[str, int | None]
    """By reader; None where it is not installed, 0 where it reads none."""
    said: str
    """What vidssl says of it, if anything."""


def read(path: str) -> Row:
    """Read a file with every library."""
    try:
        video = probe(path)
        frames: dict[str, int | None] = {"vidssl": video.frames}
        said = "; ".join(video.problems) or "whole"
        if video.track is not None:
            said += f"; track {video.track}, which has the most frames"
        if video.declared not in (None, video.frames):
            said += f"; declares {video.declared}"
    except MediaError as error:
        frames, said = {"vidssl": 0}, str(error)
    for name, reader in READERS.items():
        try:
            frames[name] = reader(path)
        except ImportError:
            frames[name] = None
        except Exception:  # whatever a library raises, it has no frames
            frames[name] = 0
    return Row(path, frames, said)


def show(rows: Sequence[Row]) -> None:
    """Print the totals, then the files on which the libraries differ."""
    print(f"{'':12}{'files':>8}{'frames':>10}   of {len(rows)} files")
    for name in rows[0].frames:
        found = [row.frames[name] for row in rows]
        if None in found:
            print(f"{name:12}not installed")
        else:
            print(f"{name:12}{sum(map(bool, found)):8}{sum(filter(None, found)):10}")
    for row in rows:
        counts = {name: count for name, count in row.frames.items() if count is not None}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(f"\n{row.path}\n    {told}\n    vidssl: {row.said}")


def main() -> None:
    """Read all files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    found = sorted(
        str(path)
        for folder in arguments.data
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() not in NO_MEDIA
    )
    if not found:
        sys.exit("no files")
    with ProcessPoolExecutor(arguments.workers) as pool:
        rows = list(track(pool.map(read, found), "reading", total=len(found)))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)


if __name__ == "__main__":
    main()
