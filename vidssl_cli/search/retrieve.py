"""`vidssl retrieve`: finds the videos, or moments of them, that are most similar to a query.

Letters: D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import leave_out, warn
from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.model.devices import choose_device
from vidssl_cli.model.embedding import embed
from vidssl_cli.search.levels import LevelName
from vidssl_cli.search.plan import is_there
from vidssl_cli.search.queries import Query, read_query
from vidssl_cli.search.store import Index

_FURTHER = 4
"""How many times as many hits are looked through for some whose files are there."""


@dataclass(frozen=True)
class Hit:
    """A video, or a moment of it, that is similar to the query."""

    rank: int
    """From 1."""
    path: str
    score: float
    """Cosine similarity, from -1 to 1."""
    start: float
    """Of the moment that is most similar to the query, in seconds."""
    end: float
    label: str | None
    there: bool
    """Whether its file is there; of those that are not, none is before one that is."""
    item: int
    """Number in the gallery, for the query ``#item``."""


@dataclass(frozen=True)
class Answer:
    """A query and its hits, best first."""

    query: Query
    hits: Sequence[Hit]


def retrieve(
    index: Index,
    texts: Sequence[str],
    *,
    top: int = 10,
    level: LevelName = "video",
    exclude_self: bool | None = None,
    device: str = "auto",
    foreign: Path | None = None,
    root: Path | None = None,
) -> tuple[list[Answer], list[MediaError]]:
    """Answer queries.

    A query is one vector, the mean over its clips, embedded as the gallery was.

    Args:
        index: What to search.
        texts: Queries as `vidssl_cli.search.queries` says.
        top: Hits of each query, at most.
        level: Rank videos, or clips, of which one video may have several.
        exclude_self: Leave out the query's own video where the gallery has it; None leaves it out
            when the query is an item, and not when it is a file.
        device: Where to embed and search.
        foreign: A FAISS index to search, see `Index.level`.
        root: Folder that the videos of a folder or list must lie in; see `find_videos`.

    Returns:
        Answers in the order of the queries, and an error for each query that has none, after a
        warning.

    Raises:
        VidsslError: No query could be answered.
    """
    broken: list[MediaError] = []
    queries: list[Query] = []
    for text in texts:
        try:
            queries += read_query(text, index.gallery, broken, root)
        except MediaError as error:
            leave_out(error, broken)
    features = _features(index, queries, device, broken)
    asked = [(query, clips.mean(0, dtype=np.float64)) for query, clips in features]
    if not asked:
        raise VidsslError(
            f"none of {len(broken)} queries could be answered", hint="see the warnings above"
        )
    own = [_own_item(index, query, exclude_self) for query, _ in asked]
    spare = max(0 if item is None else _entries(index, level, item) for item in own)
    ranked = index.level(level, str(choose_device(device)), foreign)
    found = ranked.nearest(np.stack([mean for _, mean in asked]), top + spare)
    answers = []
    for (query, mean), item, entries in zip(asked, own, found, strict=True):
        hits = list(islice(_hits(index, level, mean, item, *entries), top))
        if not all(hit.there for hit in hits):  # look further, for some that are
            (more,) = ranked.nearest(mean[None], _FURTHER * top + spare)
            hits = _those_first(_hits(index, level, mean, item, *more), top)
        answers.append(Answer(query, hits))
    _tell_missing(index, answers)
    return answers, broken


def _those_first(hits: Iterator[Hit], top: int) -> list[Hit]:
    """Return the best hits whose files are there, and after them the best of the others."""
    ordered = sorted(hits, key=lambda hit: not hit.there)[:top]
    return [replace(hit, rank=rank) for rank, hit in enumerate(ordered, 1)]


def _tell_missing(index: Index, answers: Sequence[Answer]) -> None:
    missing = {hit.path for answer in answers for hit in answer.hits if not hit.there}
    if missing:
        warn(
            f"the files of {len(missing)} hits are not there ({min(missing)}); such hits come "
            "last. `vidssl index --prune` takes them out of the index"
        )


def as_json(answers: Sequence[Answer], broken: Sequence[MediaError]) -> dict[str, Any]:
    """Return the JSON document of `vidssl retrieve`."""
    return {
        "queries": [
            {
                "query": answer.query.text,
                "label": answer.query.video.label,
                "hits": [asdict(hit) for hit in answer.hits],
            }
            for answer in answers
        ],
        "broken": [error.row for error in broken],
    }


def _features(
    index: Index, queries: Sequence[Query], device: str, broken: list[MediaError]
) -> list[tuple[Query, NDArray[np.float32]]]:
    """Return each query that can be read, with its features (clips, D)."""
    files = [number for number, query in enumerate(queries) if query.item is None]
    found: dict[int, NDArray[np.float32]] = {}
    if files:
        # Copies, so that two moments of one video are told apart by identity.
        videos = [replace(queries[number].video) for number in files]
        numbers = {id(video): number for video, number in zip(videos, files, strict=True)}
        skipped: list[MediaError] = []
        for item in embed(
            index.load_encoder(device),
            videos,
            evaluation=index.settings.evaluation,
            every=index.settings.every,
            moments=[queries[number].moment for number in files],
            skipped=skipped,
            label="queries",
        ):
            number = numbers[id(item.video)]
            found[number] = item.features
            _tell_widened(queries[number], item.spans)
        for error in skipped:
            leave_out(error, broken)
    for number, query in enumerate(queries):
        if query.item is not None:
            try:
                found[number] = _stored(index, query.item, query)
            except MediaError as error:
                leave_out(error, broken)
    return [(queries[number], found[number]) for number in sorted(found)]


def _tell_widened(query: Query, spans: NDArray[np.float32]) -> None:
    """Warn where a moment is shorter than its clips, which show more than was asked for."""
    if query.moment is None:
        return
    start, end = float(spans[:, 0].min()), float(spans[:, 1].max())
    rounding = 2 / (query.video.fps or 25)  # a frame at either end
    if end - start > query.moment[1] - query.moment[0] + rounding:
        warn(
            f"{query.text}: the moment is shorter than the clips of this index; seconds "
            f"{start:.2f} to {end:.2f} are what is looked for"
        )


def _stored(index: Index, item: int, query: Query) -> NDArray[np.float32]:
    """Return the features (clips, D) that the gallery has of an item, or of a moment of it."""
    part = index.gallery.part(item)
    features, spans = index.gallery.features["clip"][part], index.gallery.spans[part]
    if query.moment is None:
        return features
    start, end = query.moment
    inside = (spans[:, 0] < end) & (spans[:, 1] > start)
    if not inside.any():
        raise MediaError("the index has no clip of this moment", where=query.text)
    _tell_widened(query, spans[inside])
    return features[inside]


def _own_item(index: Index, query: Query, exclude_self: bool | None) -> int | None:
    """Return the item of the gallery that is left out of the hits, if any."""
    if query.item is not None:
        return None if exclude_self is False else query.item
    return index.gallery.item(query.video.path) if exclude_self else None


def _entries(index: Index, level: LevelName, item: int) -> int:
    """Return how many entries of a level are of one video."""
    part = index.gallery.part(item)
    return 1 if level == "video" else part.stop - part.start


def _hits(
    index: Index,
    level: LevelName,
    mean: NDArray[np.float64],
    excluded: int | None,
    entries: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Iterator[Hit]:
    """Yield a hit for each entry but those of the excluded item."""
    gallery = index.gallery
    rank = 0
    for entry, score in zip(entries.tolist(), scores.tolist(), strict=True):
        item = entry if level == "video" else gallery.owner(entry)
        if item == excluded:
            continue
        rank += 1
        clip = entry if level == "clip" else _best_clip(index, item, mean)
        start, end = (round(second, 3) for second in gallery.spans[clip].tolist())
        video = gallery.videos[item]
        yield Hit(rank, video.path, round(score, 6), start, end, video.label, is_there(video), item)


def _best_clip(index: Index, item: int, mean: NDArray[np.float64]) -> int:
    """Return the clip of an item that is most similar to the query."""
    part, clips = index.gallery.part(item), index.level("clip")
    best = np.argmax(clips.vectors(np.arange(part.start, part.stop)) @ clips.unit(mean))
    return int(part.start + best)
