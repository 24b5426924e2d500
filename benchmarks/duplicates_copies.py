"""Copies of videos with what they share known: trimmed, encoded anew, smaller, mirrored, joined.

Used by `benchmarks/duplicates.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.data.frame_rate import frame_rate, seconds_at
from vidssl_cli.media.decode import read_frames
from vidssl_cli.media.encode import write_mp4

if TYPE_CHECKING:
    from numpy.typing import NDArray

KINDS = ("encoded", "small", "trimmed", "mirrored", "slower", "all")
INTRO = 2.0
"""Seconds of a third video that two videos get in front of them."""


@dataclass(frozen=True)
class Shared:
    """What two files share."""

    first: str
    second: str
    kind: str
    spans: tuple[Moment, Moment]
    """In the first and in the second, in seconds."""


def make_copies(videos: Sequence[Video], out: Path, seed: int) -> Iterator[Shared]:
    """Write two copies of each video, and two with one intro for every fourth."""
    draw = random.Random(seed)
    for number, video in enumerate(videos):
        for kind in draw.sample(KINDS, 2):
            path = out / f"{number:03d}-{kind}.mp4"
            yield Shared(video.path, str(path), kind, _copy(video, kind, path, draw))
    for number in range(0, len(videos) - 4, 4):
        intro, *others = videos[number : number + 5 : 2]  # of UCF101, neighbours are one recording
        yield _with_intro(intro, others, out / f"{number:03d}-intro")


def _copy(video: Video, kind: str, path: Path, draw: random.Random) -> tuple[Moment, Moment]:
    total = video.frames or 1
    first, last = 0, total
    if kind in ("trimmed", "all"):
        length = round(total * draw.uniform(0.4, 0.8))
        first = draw.randint(0, total - length)
        last = first + length
    step = 2 if kind == "slower" else 1
    side = 96 if kind in ("small", "all") else 240
    frames = read_frames(video, range(first, last, step), side)
    if kind in ("mirrored", "all"):
        frames = frames[:, :, ::-1]
    rate = frame_rate(video) / step
    write_mp4(path, frames, rate, crf=34 if kind in ("encoded", "all") else 26)
    start, end = seconds_at(video, np.array([first, last])).tolist()
    return (start, end), (0, len(frames) / rate)


def _with_intro(intro: Video, others: Sequence[Video], stem: Path) -> Shared:
    size = (240, 320)
    front = read_frames(intro, range(min(round(INTRO * 25), intro.frames or 1)), size)
    paths, length = [], len(front) / 25
    for name, other in zip("ab", others, strict=True):
        own: NDArray[np.uint8] = read_frames(other, range(other.frames or 1), size)
        paths.append(stem.with_name(f"{stem.name}-{name}.mp4"))
        write_mp4(paths[-1], np.concatenate([front, own]), 25, crf=28)
    return Shared(str(paths[0]), str(paths[1]), "intro", ((0, length), (0, length)))
