"""An index that is open for as long as the page is, and opened again when a builder adds to it.

Letters: N videos.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import VidsslError
from vidssl_cli.pages.map import sample
from vidssl_cli.pages.projection import principal
from vidssl_cli.search.columns import BLOCK
from vidssl_cli.search.generations import read_pointer
from vidssl_cli.search.store import Index, open_index_as
from vidssl_cli.search.where import read_facts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.levels import Level, LevelName

_LOOK = 1.0
"""Seconds between two looks for a new generation, at least."""
_FITTED = 20_000
"""Videos from which the axes of the map are computed."""
_FOLDERS = 500
"""Folders that the page lists, the uppermost first."""


@dataclass(frozen=True)
class Labels:
    """Labels of the videos of an index."""

    names: tuple[str, ...]
    """Most frequent first."""
    counts: tuple[int, ...]
    numbers: NDArray[np.uint16]
    """(N,) places in ``names`` from 1; 0 for a video without a label, or with one beyond 65,535."""


class WarmIndex(Index):
    """An index whose levels are opened once, too."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Open a generation; see `Index`."""
        super().__init__(folder, digest)
        self._levels: dict[tuple[LevelName, str], Level] = {}
        self.locked = RLock()
        """Held by whoever searches."""
        self._loading = RLock()

    def load_encoder(self, device: str = "auto") -> Encoder:
        """Return the network that made the index; one thread loads it, while others search."""
        with self._loading:
            return super().load_encoder(device)

    def level(
        self,
        name: LevelName,
        device: str = "cpu",
        foreign: Path | None = None,
        items: NDArray[np.int64] | None = None,
    ) -> Level:
        """Return the videos, or the clips, of the index."""
        if foreign is not None or items is not None:
            return super().level(name, device, foreign, items)
        with self.locked:
            if (name, device) not in self._levels:
                self._levels[name, device] = super().level(name, device)
            return self._levels[name, device]

    def inherit(self, before: WarmIndex) -> None:
        """Take over the network of the generation before, if it is the same."""
        if before.settings.encoder == self.settings.encoder:
            self._encoders.update(before._encoders)

    @cached_property
    def labels(self) -> Labels:
        """The labels of its videos, in the order of `Gallery.items`."""
        found = dict(read_facts(self.gallery, "label"))
        counts = Counter(label for label in found.values() if label is not None)
        ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        numbers = {name: number for number, (name, _) in enumerate(ranked[: 2**16 - 1], 1)}
        return Labels(
            tuple(name for name, _ in ranked),
            tuple(count for _, count in ranked),
            np.array(
                [numbers.get(found[item], 0) for item in self.gallery.items.tolist()], np.uint16
            ),
        )

    @cached_property
    def folders(self) -> list[tuple[str, int]]:
        """Folders of its videos with the number of videos in each and below it.

        Those that have all videos are left out.
        """
        direct = Counter(os.path.dirname(path) for _, path in read_facts(self.gallery, "path"))
        counts: Counter[str] = Counter()
        for folder, count in direct.items():
            while True:
                counts[folder] += count
                above = os.path.dirname(folder)
                if above == folder:
                    break
                folder = above
        listed = [(name, count) for name, count in counts.items() if count < len(self.gallery)]
        listed.sort(key=lambda each: (each[0].count("/"), each[0]))
        return sorted(listed[:_FOLDERS])

    @cached_property
    def plane(self) -> NDArray[np.float32]:
        """(N, 2) places of its videos on the map, from 0 to 1 to the right and down."""
        items, level = self.gallery.items, self.level("video")
        mean, directions = principal(level.vectors(items[sample([None] * len(items), _FITTED)]))
        points = np.concatenate(
            [
                (level.vectors(items[first : first + BLOCK]) - mean) @ directions
                for first in range(0, len(items), BLOCK)
            ]
        )
        low, span = points.min(0), np.ptp(points, 0)
        places = np.where(span > 0, (points - low) / np.where(span > 0, span, 1), 0.5)
        places[:, 1] = 1 - places[:, 1]
        return places.astype(np.float32)

    def inside(self, polygon: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the videos whose places lie in a polygon (corners, 2), ascending."""
        x, y = self.plane[:, 0].astype(np.float64), self.plane[:, 1].astype(np.float64)
        odd = np.zeros(len(x), bool)
        for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, 0), strict=True):
            if ay != by:
                odd ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
        return self.gallery.items[odd]


class LiveIndex:
    """The newest generation of an index."""

    def __init__(self, folder: Path) -> None:
        """Open an index; see `open_index`."""
        self.folder = folder
        self._pointer = read_pointer(folder)
        self._index = open_index_as(WarmIndex, folder)
        self._looked = time.monotonic()
        self._lock = RLock()

    def current(self) -> WarmIndex:
        """Return the newest generation; where it cannot be opened, the one before."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked < _LOOK:
                return self._index
            self._looked = now
            try:
                pointer = read_pointer(self.folder)
                if pointer != self._pointer:
                    newer = open_index_as(WarmIndex, self.folder)
                    newer.inherit(self._index)
                    self._index, self._pointer = newer, pointer
                    say(f"{self.folder}: {newer.folder.name}, {len(newer.gallery)} videos")
            except VidsslError as error:
                warn(f"{self.folder}: {error}; the page goes on with {self._index.folder.name}")
            return self._index
