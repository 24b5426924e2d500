"""Joins segments of an index, so that their number grows with the logarithm of its size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from vidssl_cli.data.manifest import row_writer
from vidssl_cli.files.sealed_folder import verify
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import next_segment
from vidssl_cli.search.segments import ROWS, Batch, Segment, keys_of, write_segment

_WASTE = 0.25
"""Share of removed and changed videos from which all are written anew."""


def wasteful(gallery: Gallery) -> bool:
    """Tell whether so many videos are removed or changed that it pays to write the others anew.

    What layout 1 wrote is written anew, too.
    """
    if not all(segment.sealed for segment in gallery.segments):
        return True
    return len(gallery.removed) + len(gallery.changed) > _WASTE * len(gallery.stamps)


def compacted(folder: Path, gallery: Gallery) -> Gallery:
    """Write one segment of all videos without removed ones, which get new numbers."""
    _check(gallery.segments)
    kept = chain.from_iterable(_kept(gallery, n) for n in range(len(gallery.segments)))
    return Gallery([write_segment(next_segment(folder), kept)], np.empty(0, np.int64), {})


def joined(folder: Path, segments: Sequence[Segment]) -> list[Segment]:
    """Join the last segments while one is less than twice as large as what follows it.

    So each video is written again as often as the index doubles, and no number changes.
    """
    kept, tail = list(segments[:-1]), [segments[-1]]
    while kept and len(kept[-1]) < 2 * sum(map(len, tail)):
        tail.insert(0, kept.pop())
    if len(tail) > 1:
        _check(tail)
        batches = chain.from_iterable(segment.batches() for segment in tail)
        tail = [write_segment(next_segment(folder), batches)]
    return kept + tail


def _check(segments: Sequence[Segment]) -> None:
    """Read all of segments, lest damage is sealed with what is written from them.

    Raises:
        DamagedFileError: One is damaged.
    """
    for segment in segments:
        if segment.sealed:
            verify(segment.folder)


def _kept(gallery: Gallery, number: int) -> Iterator[Batch]:
    """Yield the videos of a segment without removed ones, with the rows that replace theirs."""
    segment = gallery.segments[number]
    first = int(gallery.stamps.starts[number])
    row_of = row_writer(segment.folder / ROWS)
    for batch in segment.batches():
        items = np.arange(first, first + len(batch.rows))
        first += len(items)
        rows, keys = list(batch.rows), np.array(batch.keys)
        for place, item in enumerate(items.tolist()):
            if video := gallery.changed.get(item):
                rows[place], keys[:, place] = row_of(video).encode(), keys_of([video])[:, 0]
        there = ~np.isin(items, gallery.removed)
        clips = np.repeat(there, batch.clips)
        if there.any():
            yield replace(
                batch,
                rows=[row for row, keep in zip(rows, there, strict=True) if keep],
                keys=keys[:, there],
                stamps=batch.stamps[there],
                clips=batch.clips[there],
                features=batch.features[clips],
                spans=batch.spans[clips],
            )
