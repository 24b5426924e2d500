"""What an index, or a file of features, embeds: kept in a journal until it is there.

Letters: D features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.base.wording import share
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import row_writer
from vidssl_cli.model.embedding import Embedded, embed
from vidssl_cli.model.feature_journal import FeatureJournal
from vidssl_cli.search.publish import require_room_for
from vidssl_cli.search.segments import ROWS, Batch, Segment, keys_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.layout import IndexSettings

Embedder = Callable[..., Iterator[Embedded]]
"""Takes encoder, videos, ``every``, ``skipped`` and ``label`` as `embed` does."""

_FACTS = [field.name for field in fields(Video) if field.name not in ("label", "split", "group")]
_GROUP = 1024
"""Videos that are written at once."""
JOURNAL = ".embedded"
"""What was embedded and is not in the index, or file, yet; the next run goes on from it."""


def embed_entries(
    encoder: Encoder,
    settings: IndexSettings,
    videos: Mapping[str, Video],
    stamps: Mapping[str, tuple[int, int]],
    out: Path,
    skipped: list[MediaError],
    embedder: Embedder | None = None,
    earlier: Segment | None = None,
    what: str = "the index",
) -> Iterator[tuple[Embedded, tuple[int, int]]]:
    """Embed videos, but those that a run had embedded which did not finish; yield their stamps too.

    Args:
        encoder: The network.
        settings: How the index is made, or would be.
        videos: By path.
        stamps: Of their files.
        out: Folder of the journal.
        skipped: Receives an error for every video that cannot be read.
        embedder: Embeds as `embed` does, which is used if this is None.
        earlier: Has features by this network and these settings; it stays as it is.
        what: The name of what is made, for messages.

    Raises:
        NoRoomError: The features would not fit on the disk; raised when the first is embedded.
        VidsslError: The network gives features that are not finite.
    """
    if not videos:
        return
    key = [settings.encoder, settings.evaluation.model_dump(mode="json"), settings.every]
    with FeatureJournal(out / JOURNAL, key) as journal:
        marks = {path: [path, *stamps[path], _facts(video)] for path, video in videos.items()}
        kept: set[str] = set()
        for row, (features, spans) in chain(journal.rows(), _rows(earlier) if earlier else ()):
            if row[0] not in kept and row == marks.get(row[0]):
                kept.add(row[0])
                yield Embedded(videos[row[0]], features, spans), stamps[row[0]]
        if kept:
            done = share(len(kept), len(videos), "video", "was", "were")
            say(f"{done} embedded by a run that did not finish")
        missing = [video for path, video in videos.items() if path not in kept]
        embedded = (embedder or embed)(
            encoder, missing, every=settings.every, skipped=skipped, label="embedding"
        )
        for number, item in enumerate(embedded):
            path = item.video.path
            if number == 0:
                clips, dimension = item.features.shape
                copies = 2 * len(missing)  # in the journal and in what is made
                require_room_for(out, copies, copies * clips, dimension, encoder, what)
            if not np.isfinite(item.features).all():
                raise VidsslError(
                    "the network gives features that are not finite",
                    where=path,
                    hint="its training diverged: see loss in metrics.jsonl; lower the learning "
                    "rate",
                )
            journal.add(marks[path], [item.features, item.spans])
            yield item, stamps[path]


def batches(found: Iterable[tuple[Embedded, tuple[int, int]]], segment: Path) -> Iterator[Batch]:
    """Group embedded videos for a segment."""
    row_of, found = row_writer(segment / ROWS), iter(found)
    while group := list(islice(found, _GROUP)):
        items = [item for item, _ in group]
        yield Batch(
            [row_of(item.video).encode() for item in items],
            keys_of([item.video for item in items]),
            np.array([stamp for _, stamp in group], np.int64),
            np.array([len(item.features) for item in items], np.int64),
            np.concatenate([item.features for item in items], dtype=np.float32),
            np.concatenate([item.spans for item in items], dtype=np.float32),
        )


def _rows(segment: Segment) -> Iterator[tuple[Any, list[NDArray[np.float32]]]]:
    """Yield the videos of a segment as the journal has them."""
    for number, stamp in enumerate(segment.stamps.tolist()):
        video, part = segment.video(number), segment.part(number)
        arrays = [segment.features["clip"][part], segment.spans[part]]
        yield [video.path, *stamp, _facts(video)], arrays


def _facts(video: Video) -> str:
    """Return a digest of what a video's features depend on, beside its file."""
    facts = [getattr(video, name) for name in _FACTS]
    return hashlib.sha256(repr(facts).encode(errors="surrogatepass")).hexdigest()[:32]
