"""A cache of features by digest: no clip is embedded twice, and no feature is stale.

A *shelf* holds the features of one network and layer: its key is everything that a feature depends
on, except the video. A row's name is the digest of a video's content and of the frames that were
embedded. A shelf is a folder of published parts, each written once, under a name of its own, by the
pass that computed it; so several processes can write one shelf. Until a pass is done, its rows are
in a journal, as those of an index are, and the next such pass takes them over.

Rows are not in the segments of an index: they belong to content and frames and not to files, have
several layers in one pass and no videos to be removed, and several processes add to them at once.
What a segment has for files, filters and searches they do not need: 10 clips of 512 numbers of
10,000 videos take 3.5 s to write and 206 MB here, 4.5 s and 231 MB as a segment.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from safetensors.numpy import load_file, save_file

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, MediaError
from vidssl_cli.files.locks import flock, make_folder
from vidssl_cli.files.sealed_folder import publish, sha256, verify
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.feature_journal import FeatureJournal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video

_HINT = "delete it; what was in it is computed again"
_KEY, _ROWS, _VALUES = "key.json", "rows.json", "values.safetensors"


class Shelf:
    """Features by row name; in memory, and below a folder if there is one."""

    def __init__(self, root: Path | None, key: Mapping[str, Any]) -> None:
        """Open the shelf with a key.

        Args:
            root: Folder of shelves; None keeps features in memory only.
            key: Everything that the features depend on, except the videos; plain values.

        Raises:
            DamagedFileError: A part of the shelf is not as it was written.
        """
        self.key = json.dumps(key, sort_keys=True)
        """What its features depend on, as JSON."""
        name = hashlib.sha256(self.key.encode()).hexdigest()[:32]
        self._folder = root / name if root else None
        self.rows: dict[str, NDArray[np.float32]] = {}
        if self._folder and self._folder.is_dir():
            for part in sorted(self._folder.glob("[!.]*")):
                self.rows |= self._read(part)

    def add(self, rows: Mapping[str, NDArray[np.float32]]) -> None:
        """Add features, (clips, D) by row name."""
        self.rows |= rows
        if not self._folder or not rows:
            return

        def write(draft: Path) -> None:
            counts = np.array([len(features) for features in rows.values()], dtype=np.int64)
            tensors = {"values": np.concatenate(list(rows.values())), "counts": counts}
            save_file(tensors, draft / _VALUES)
            (draft / _ROWS).write_text(json.dumps(list(rows)), encoding="utf-8")
            (draft / _KEY).write_text(self.key, encoding="utf-8")

        size = sum(features.nbytes for features in rows.values())
        publish(self._folder / uuid.uuid4().hex, write, size=size)

    def _read(self, part: Path) -> dict[str, NDArray[np.float32]]:
        verify(part, _KEY, _ROWS, _VALUES)
        if (key := (part / _KEY).read_text(encoding="utf-8")) != self.key:
            raise DamagedFileError(
                f"holds features of another key: {key}", where=str(part), hint=_HINT
            )
        with understood(part):
            names = json.loads((part / _ROWS).read_text(encoding="utf-8"))
            tensors = load_file(part / _VALUES)
            features = np.split(tensors["values"], np.cumsum(tensors["counts"])[:-1])
            return dict(zip(names, features, strict=True))


class Pass:
    """A pass over videos that fills shelves, one row of each for a video.

    Rows are published when it ends well. Those of one that was interrupted are taken over, unless
    another process is writing below the same root.
    """

    def __init__(self, root: Path | None, shelves: Sequence[Shelf], names: Container[str]) -> None:
        """Prepare a pass.

        Args:
            root: Folder of the shelves; None keeps no journal.
            shelves: What it fills.
            names: Rows that are wanted.
        """
        self._root, self._shelves, self._names = root, shelves, names
        self.kept: dict[str, Sequence[NDArray[np.float32]]] = {}
        """For each row that there is, the features (clips, D) for each shelf."""
        self._journal: FeatureJournal | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        if self._root and _lock(self._root, self._opened):
            keys = sorted(shelf.key for shelf in self._shelves)
            path = self._root / f".{hashlib.sha256(json.dumps(keys).encode()).hexdigest()[:32]}"
            self._journal = self._opened.enter_context(FeatureJournal(path, keys))
            self.kept = {name: rows for name, rows in self._journal.rows() if name in self._names}
        if self.kept:
            say(f"features of {len(self.kept)} videos are those of a run that did not finish")
        return self

    def add(self, name: str, rows: Sequence[NDArray[np.float32]]) -> None:
        """Add a row to each shelf, (clips, D)."""
        self.kept[name] = rows
        if self._journal:
            self._journal.add(name, rows)

    def __exit__(self, kind: object, *error: object) -> None:
        with self._opened:
            if kind is None:
                for number, shelf in enumerate(self._shelves):
                    shelf.add({name: rows[number] for name, rows in self.kept.items()})
                if self._journal:
                    self._journal.delete()


def _lock(root: Path, opened: ExitStack) -> bool:
    """Lock a folder until the stack is closed; return False if another process has the lock."""
    make_folder(root)
    number = os.open(root, os.O_RDONLY)
    opened.callback(os.close, number)
    return flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def content_digest(video: Video) -> str:
    """Return what identifies the pictures of a video: the SHA-256 of its file, or of its pack.

    Raises:
        MediaError: The file cannot be read.
    """
    if video.packed:
        packed = video.packed
        return f"{packed.sha256} {packed.format} {packed.height} {packed.width}"
    try:
        return sha256(Path(video.path))
    except OSError as error:
        raise MediaError(error.strerror or str(error), where=video.path) from None


def row_name(content: str, frames: NDArray[np.int64]) -> str:
    """Return the name of a row: the digest of a video's content and of (clips, T) frames of it."""
    digest = hashlib.sha256(f"{content} {frames.shape}".encode())
    digest.update(np.ascontiguousarray(frames, dtype="<i8").tobytes())
    return digest.hexdigest()
