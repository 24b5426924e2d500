"""The videos of a gallery with their features: embedded now, or by a run that did not finish."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.files.journal import Journal
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.model.embedding import embed
from vidssl_cli.search.publish import require_room_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.store import IndexSettings

JOURNAL = ".embedded"
"""What was embedded and is not in the index yet; the next run goes on from it."""


@dataclass(frozen=True, eq=False)
class Entry:
    """One video of the gallery; compared by identity."""

    video: Video
    stamp: tuple[int, int]
    """Size in bytes and time of change in ns: if they differ, it is another file."""
    features: NDArray[np.float32]
    """(clips, D)"""
    spans: NDArray[np.float32]
    """(clips, 2)"""


def embed_entries(
    encoder: Encoder,
    settings: IndexSettings,
    videos: Mapping[str, Video],
    stamps: Mapping[str, tuple[int, int]],
    out: Path,
    others: int,
    skipped: list[MediaError],
) -> Iterator[Entry]:
    """Embed videos, but those that a run had embedded which did not finish.

    Raises:
        NoRoomError: The index of these and of so many others would not fit on the disk; raised when
            the first is embedded.
        VidsslError: The network gives features that are not finite.
    """
    if not videos:
        return
    key = [settings.encoder, settings.evaluation.model_dump(mode="json")]
    with Journal(out / JOURNAL, key) as journal:
        marks = {path: [path, *stamps[path], _facts(video)] for path, video in videos.items()}
        kept = {row[0]: content for row, content in journal.records() if row == marks.get(row[0])}
        if kept:
            say(f"{len(kept)} of {len(videos)} videos were embedded by a run that did not finish")
        for path, content in kept.items():
            with understood(out / JOURNAL):
                features, spans = _unpack(content)
            yield Entry(videos[path], stamps[path], features, spans)
        missing = [video for path, video in videos.items() if path not in kept]
        for number, item in enumerate(embed(encoder, missing, skipped=skipped, label="indexing")):
            path = item.video.path
            if number == 0:
                clips, dimension = item.features.shape
                total = others + len(videos)
                require_room_for(out, total, total * clips, dimension, encoder)
            if not np.isfinite(item.features).all():
                raise VidsslError(
                    "the network gives features that are not finite",
                    where=path,
                    hint="its training diverged: see loss in metrics.jsonl; lower the learning "
                    "rate",
                )
            journal.append(marks[path], _pack(item.features, item.spans))
            yield Entry(item.video, stamps[path], item.features, item.spans)


def _facts(video: Video) -> str:
    """Return a digest of what a video's features depend on, beside its file."""
    facts = replace(video, label=None, split=None, group=None)
    return hashlib.sha256(repr(facts).encode(errors="surrogatepass")).hexdigest()[:32]


def _pack(features: NDArray[np.float32], spans: NDArray[np.float32]) -> bytes:
    """Return features (clips, D) and spans (clips, 2) as bytes."""
    return len(features).to_bytes(8, "little") + features.tobytes() + spans.tobytes()


def _unpack(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (clips, D) and spans (clips, 2)."""
    clips, values = int.from_bytes(content[:8], "little"), np.frombuffer(content[8:], np.float32)
    features, spans = np.split(values, [len(values) - 2 * clips])
    return features.reshape(clips, -1), spans.reshape(clips, 2)


def stamp_of(path: str) -> tuple[int, int]:
    """Return size in bytes and time of change in ns of a file, -1 where there is none."""
    try:
        status = os.stat(path)
    except OSError:  # gone since the scan, which embedding reports
        return -1, -1
    return status.st_size, status.st_mtime_ns
