"""Finds videos with equal bytes, with similar pictures, and of a single colour.

Three frames of a video, at a sixth, a half and five sixths of it, are scaled to 16 x 16 grey cells.
Measured on UCF101 and on videos of one fixed camera, other encodings and sizes of a video change no
cell by more than `SAME`, and no two recordings agree as far. Copies that are cropped, mirrored, or
cut elsewhere are not found.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import say, track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError
from vidssl_cli.base.wording import share
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.sealed_folder import sha256
from vidssl_cli.media.decode import read_planes

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAME = 24.0
"""Grey levels of 256 in which cells of copies differ at most, relative to the mean of the frame."""
ONE_COLOUR = 4
"""Levels in which a picture of one colour varies at most."""

_SIDE = 16
_MOMENTS = np.array([1, 3, 5]) / 6
_RMS = 5.0
"""Root mean square of cell differences above which cells are not compared one by one."""
_AT_ONCE = 1 << 26
_ORDER = {"train": 0, "val": 1, "test": 2}


def same_bytes(videos: Sequence[Video]) -> Iterator[list[Video]]:
    """Yield groups of videos whose files have the same bytes; training videos come first.

    Files that do not exist are ignored. The digests of packed videos are known without files.
    """
    sizes: dict[int, list[Video]] = defaultdict(list)
    for video in videos:
        if video.packed:
            sizes[video.packed.source_bytes].append(video)
        elif os.path.isfile(video.path):  # a manifest's facts outlive its files
            sizes[os.path.getsize(video.path)].append(video)
    for alike in sizes.values():
        if len(alike) == 1:
            continue
        contents: dict[str, list[Video]] = defaultdict(list)
        for video in sorted(alike, key=_order):
            packed = video.packed
            contents[packed.source_sha256 if packed else sha256(Path(video.path))].append(video)
        yield from (group for group in contents.values() if len(group) > 1)


def pairs(group: Sequence[Video]) -> Iterator[tuple[Video, Video]]:
    """Yield the later videos of a group of copies, each with one of its split or else the first."""
    first: dict[str | None, Video] = {}
    for video in group:
        same = first.setdefault(video.split, video)
        if video is not group[0]:
            yield video, group[0] if same is video else same


class Thumbnails:
    """Three small pictures of each video."""

    def __init__(self, videos: Sequence[Video], workers: int | None = None) -> None:
        """Decode the pictures; errors of videos that cannot be read are in ``broken``."""
        there = [video for video in videos if video.packed or os.path.exists(video.path)]
        if len(there) < len(videos):
            missing = share(len(videos) - len(there), len(videos), "video", "is", "are")
            say(f"{missing} not there; no pictures are compared for what is not there")
        self.videos: list[Video] = []
        self.broken: list[MediaError] = []
        pictures = []
        pool = ThreadPoolExecutor(workers or usable_cores())
        try:
            for video, result in zip(
                there, track(pool.map(_draw, there), "looking", total=len(there)), strict=True
            ):
                if isinstance(result, MediaError):
                    self.broken.append(result)
                else:
                    self.videos.append(video)
                    pictures.append(result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        self._colours = np.array(pictures, np.uint8).reshape(
            len(pictures), len(_MOMENTS), 3, _SIDE**2
        )

    def of_one_colour(self) -> list[Video]:
        """Return the videos each of whose frames has the same colour everywhere."""
        varies = np.ptp(self._colours, axis=3).max((1, 2)) > ONE_COLOUR
        return [video for video, more in zip(self.videos, varies, strict=True) if not more]

    def near_copies(self) -> Iterator[tuple[Video, Video]]:
        """Yield videos of ``val`` and ``test`` with the most similar video of an earlier split."""
        grey = self._colours.mean(2, dtype=np.float32)
        cells = (grey - grey.mean(2, keepdims=True)).reshape(len(grey), len(_MOMENTS) * _SIDE**2)
        lengths = (cells**2).sum(1)
        plain = {id(video) for video in self.of_one_colour()}
        places = [
            n for n, video in enumerate(self.videos) if video.split and id(video) not in plain
        ]
        for split in ("val", "test"):
            own = np.array([n for n in places if self.videos[n].split == split], int)
            before = [n for n in places if _order(self.videos[n]) < _ORDER[split]]
            if not before:
                continue
            for part in np.array_split(own, 1 + len(own) * len(before) // _AT_ONCE):
                squares = lengths[part, None] + lengths[before] - 2 * cells[part] @ cells[before].T
                for number, row in zip(part, squares, strict=True):
                    near = before[int(row.argmin())]
                    if (
                        row.min() <= _RMS**2 * cells.shape[1]
                        and np.abs(cells[number] - cells[near]).max() <= SAME
                    ):
                        yield self.videos[number], self.videos[near]


def _draw(video: Video) -> NDArray[np.uint8] | MediaError:
    """Return pictures (3 frames, 3 colours, 16, 16), or an error."""
    frames, rows = np.unique((_MOMENTS * (video.frames or 1)).astype(int), return_inverse=True)
    size = (_SIDE, _SIDE)
    if video.packed and min(video.packed.height, video.packed.width) < _SIDE:
        size = (video.packed.height, video.packed.width)
    try:
        pictures = read_planes(video, frames.tolist(), size)
    except MediaError as error:
        return error
    height, width = (np.arange(_SIDE) * side // _SIDE for side in pictures.shape[2:])
    return pictures[rows][:, :, height][:, :, :, width]


def _order(video: Video) -> int:
    return _ORDER.get(video.split or "train", 0)
