"""`vidssl retrieve`: finds the videos, or moments of them, that are most similar to a query.

Letters: D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from heapq import merge
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import leave_out, warn
from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.contract.videos import Moment
from vidssl_cli.model.devices import choose_device
from vidssl_cli.model.embedding import embed
from vidssl_cli.search.levels import Level, LevelName
from vidssl_cli.search.moments import find_moments
from vidssl_cli.search.plan import is_there
from vidssl_cli.search.queries import Query, read_query
from vidssl_cli.search.store import Index
from vidssl_cli.search.where import matching

SearchName = Literal["video", "clip", "moment"]
SEARCHES: tuple[SearchName, ...] = ("video", "clip", "moment")
GroupName = Literal["video", "label"]

_FURTHER, _FURTHEST = 4, 1000
"""How many times as many entries are searched for at once, with at most so many more, since files
may be gone or several entries make one hit; and how many more hits are looked through for some
whose files are there."""
_INSIDE = 0.75
"""Share of an item's clip that lies in a moment of it, from which the clip belongs to it."""
_CANDIDATES = 100
"""Most similar clips of each clip of a query, whose videos are compared at once with the query as a
sequence of clips."""


@dataclass(frozen=True)
class Hit:
    """A video, or a moment of it, that is similar to the query."""

    rank: int
    """From 1."""
    path: str
    score: float
    """Cosine similarity, from -1 to 1."""
    start: float
    """Of the clip that is most similar to the query, or of the moment that was found; in
    seconds."""
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
    level: SearchName
    """What was ranked."""
    span: Moment
    """Seconds of the query that were compared: a moment shorter than a clip is widened."""


@dataclass(frozen=True)
class _Asked:
    """A query that could be read."""

    query: Query
    features: NDArray[np.float32]
    """(clips, D)"""
    spans: NDArray[np.float32]
    """(clips, 2) start and end of each clip in seconds."""

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) over its clips."""
        mean: NDArray[np.float64] = self.features.mean(0, dtype=np.float64)
        return mean

    @property
    def span(self) -> Moment:
        """From the start of its first clip to the end of its last, in seconds."""
        return float(self.spans[:, 0].min()), float(self.spans[:, 1].max())

    @property
    def level(self) -> SearchName:
        """What is ranked for it by default: moments, for a moment or what is as short as a clip."""
        duration, frame = self.query.video.duration, 1 / (self.query.video.fps or 25)
        clip = float(np.ptp(self.spans, 1).max())
        short = duration is not None and duration < clip + frame / 2
        return "moment" if self.query.moment or short else "video"


def retrieve(
    index: Index,
    texts: Sequence[str],
    *,
    top: int = 10,
    level: SearchName | None = None,
    where: str | None = None,
    group_by: GroupName | None = None,
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
        level: Rank videos, or clips, of which one video may have several, or moments, for
            which the query's clips are compared in their order with those of the videos that have
            the most similar clips. None takes moments for queries that are moments or no longer
            than a clip, and videos for others.
        where: Search only videos of which this is true; see `vidssl_cli.search.where`.
        group_by: Give at most one hit of a video, or of a label.
        exclude_self: Leave out the query's own video where the gallery has it; None leaves it out
            when the query is an item, and not when it is a file.
        device: Where to embed and search.
        foreign: A FAISS index to search, see `Index.level`.
        root: Folder that the videos of a folder or list must lie in; see `find_videos`.

    Returns:
        Answers in the order of the queries, and an error for each query that has none, after a
        warning.

    Raises:
        UsageError: ``where`` cannot be evaluated.
        VidsslError: No query could be answered.
    """
    items = None if where is None else matching(index.gallery, where)
    if items is not None and not len(items):
        warn(f"--where {where!r} is true of none of {len(index.gallery)} videos")
    broken: list[MediaError] = []
    queries: list[Query] = []
    for text in texts:
        try:
            queries += read_query(text, index.gallery, broken, root)
        except MediaError as error:
            leave_out(error, broken)
    answers = answer(
        index, queries, broken, top=top, level=level, items=items, group_by=group_by,
        exclude_self=exclude_self, device=device, foreign=foreign,
    )  # fmt: skip
    if not answers:
        raise VidsslError(
            f"none of {len(broken)} queries could be answered", hint="see the warnings above"
        ) from next(iter(broken), None)
    for each in answers:
        _tell_widened(each)
    _tell_missing(index, answers)
    return answers, broken


def answer(
    index: Index,
    queries: Sequence[Query],
    broken: list[MediaError],
    *,
    top: int = 10,
    level: SearchName | None = None,
    items: NDArray[np.int64] | None = None,
    group_by: GroupName | None = None,
    exclude_self: bool | None = None,
    device: str = "auto",
    foreign: Path | None = None,
) -> list[Answer]:
    """Answer queries that have been read, as `retrieve` does.

    Args:
        index: What to search.
        queries: In any number; none gives no answer.
        broken: Receives an error for each query that cannot be answered, after a warning.
        top: Hits of each query, at most.
        level: What is ranked.
        items: Videos that can be found; None means all.
        group_by: What has one hit at most.
        exclude_self: Whether to leave out the query's own video.
        device: Where to embed and search.
        foreign: A FAISS index to search.
    """
    asked = _embedded(index, queries, device, broken)
    if not asked:
        return []
    chosen, clips = str(choose_device(device)), index.level("clip")
    answers: dict[int, Answer] = {}
    for name in SEARCHES:
        mine = [n for n, one in enumerate(asked) if (level or one.level) == name]
        if not mine:
            continue
        stored: LevelName = "video" if name == "video" else "clip"
        ranked = index.level(stored, chosen, foreign, items)
        own = [_own_item(index, asked[n].query, exclude_self) for n in mine]
        spare = max(0 if item is None else _entries(index, stored, item) for item in own)
        first = top * (_FURTHER if group_by else 1) + _further(top) + spare
        first = max(first, _CANDIDATES) if name == "moment" else first
        parts = [asked[n].features if name == "moment" else asked[n].mean[None] for n in mine]
        found = iter(ranked.ranked(np.concatenate(parts), first))
        for n, item, part in zip(mine, own, parts, strict=True):
            entries = _in_turn(list(islice(found, len(part))))
            search = _Search(index, clips, asked[n], item)
            make = {"video": search.videos, "clip": search.parts, "moment": search.moments}[name]
            hits = _grouped(make(entries), group_by)
            answers[n] = Answer(asked[n].query, _best(hits, top), name, asked[n].span)
    return [answers[n] for n in sorted(answers)]


def _in_turn(found: Sequence[Iterator[tuple[int, float]]]) -> Iterator[tuple[int, float]]:
    """Yield the first of each, then the second of each, and so on."""
    for entries in zip_longest(*found):
        yield from (entry for entry in entries if entry)


def _best(hits: Iterator[Hit], top: int) -> list[Hit]:
    """Return the best hits whose files are there, and after them the best of the others."""
    there: list[Hit] = []
    gone: list[Hit] = []
    for hit in islice(hits, top + _FURTHEST):
        (there if hit.there else gone).append(hit)
        if len(there) == top:
            break
    best = sorted([*there, *gone], key=lambda hit: (not hit.there, -hit.score))
    return [replace(hit, rank=rank) for rank, hit in enumerate(best[:top], 1)]


def _further(top: int) -> int:
    """Return how many hits more are searched for at once, since files may be gone."""
    return min((_FURTHER - 1) * top, _FURTHEST)


def _grouped(hits: Iterator[Hit], group_by: GroupName | None) -> Iterator[Hit]:
    """Leave out hits of a video, or a label, that a better one has; no label is no group.

    A label whose best hit is gone is that of the best one that is there; where there is none, it
    comes last.
    """
    seen: set[int | str] = set()
    gone: dict[int | str, Hit] = {}
    for hit in hits:
        group = {None: None, "video": hit.item, "label": hit.label}[group_by]
        if group is None:
            yield hit
        elif group not in seen and (hit.there or group_by == "video"):
            seen.add(group)
            yield hit
        elif group not in seen:
            gone.setdefault(group, hit)
    yield from (hit for group, hit in gone.items() if group not in seen)


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
                "level": answer.level,
                "hits": [asdict(hit) for hit in answer.hits],
            }
            for answer in answers
        ],
        "broken": [error.row for error in broken],
    }


def _embedded(
    index: Index, queries: Sequence[Query], device: str, broken: list[MediaError]
) -> list[_Asked]:
    """Embed each query that can be read."""
    files = [number for number, query in enumerate(queries) if query.item is None]
    found: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
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
            found[number] = item.features, item.spans
        for error in skipped:
            leave_out(error, broken)
    for number, query in enumerate(queries):
        if query.item is not None:
            try:
                found[number] = _stored(index, query.item, query)
            except MediaError as error:
                leave_out(error, broken)
    return [_Asked(queries[n], features, spans) for n, (features, spans) in sorted(found.items())]


def _tell_widened(found: Answer) -> None:
    """Warn where the clips of a moment show more than was asked for, being longer."""
    query, (start, end) = found.query, found.span
    if query.moment is None:
        return
    rounding = 2 / (query.video.fps or 25)  # a frame at either end
    if end - start > query.moment[1] - query.moment[0] + rounding:
        warn(
            f"{query.text}: clips of this index do not show the moment alone; seconds "
            f"{start:.2f} to {end:.2f} are what is looked for"
        )


def _stored(
    index: Index, item: int, query: Query
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features (clips, D) and spans of an item of the gallery, or of a moment of it."""
    part = index.gallery.part(item)
    features, spans = index.gallery.features["clip"][part], index.gallery.spans[part]
    if query.moment is None:
        return features, spans
    start, end = query.moment
    common = np.minimum(spans[:, 1], end) - np.maximum(spans[:, 0], start)
    if not (common > 0).any():
        raise MediaError("the index has no clip of this moment", where=query.text)
    inside = common >= _INSIDE * np.ptp(spans, 1)
    if not inside.any():  # the nearest of those that show most of it
        apart = np.abs(spans.mean(1) - (start + end) / 2)
        inside[np.lexsort((apart, -common.round(3)))[0]] = True
    return features[inside], spans[inside]


def _own_item(index: Index, query: Query, exclude_self: bool | None) -> int | None:
    """Return the item of the gallery that is left out of the hits, if any."""
    if query.item is not None:
        return None if exclude_self is False else query.item
    return index.gallery.item(query.video.path) if exclude_self else None


def _entries(index: Index, level: LevelName, item: int) -> int:
    """Return how many entries of a level are of one video."""
    part = index.gallery.part(item)
    return 1 if level == "video" else part.stop - part.start


@dataclass(frozen=True)
class _Search:
    """Makes hits of the entries that a query finds; they are not numbered yet."""

    index: Index
    clips: Level
    asked: _Asked
    excluded: int | None
    """Item that is left out."""

    def videos(self, entries: Iterator[tuple[int, float]]) -> Iterator[Hit]:
        """Yield a hit for each video, with its clip that is most similar."""
        unit = self.clips.unit(self.asked.mean)
        for item, score in entries:
            if item != self.excluded:
                clips = self._clips_of(item)
                best = int(self.clips.cosines(unit, clips).argmax()) if len(clips) > 1 else 0
                yield self._hit(item, score, *self._spans(item)[best].tolist())

    def parts(self, entries: Iterator[tuple[int, float]]) -> Iterator[Hit]:
        """Yield a hit for each clip."""
        gallery = self.index.gallery
        for clip, score in entries:
            if (item := gallery.owner(clip)) != self.excluded:
                yield self._hit(item, score, *gallery.spans[clip].tolist())

    def moments(self, entries: Iterator[tuple[int, float]]) -> Iterator[Hit]:
        """Yield the moments of the videos that have the first clips, best first, then of others.

        Queries that show one posture are alike on the mean, so each of their clips is looked for.
        """
        done = {self.excluded}
        while some := list(islice(entries, _CANDIDATES * len(self.asked.features))):
            items = dict.fromkeys(self.index.gallery.owner(clip) for clip, _ in some)
            found = [self._moments(item) for item in items if item not in done]
            yield from merge(*found, key=lambda hit: -hit.score)
            done.update(items)

    def _moments(self, item: int) -> Iterator[Hit]:
        """Yield the moments of one video, best first."""
        vectors = self.clips.white(self.clips.features[self._clips_of(item)])
        query = self.clips.white(self.asked.features)
        for found in find_moments(query, self.asked.spans, vectors, self._spans(item)):
            yield self._hit(item, found.score, found.start, found.end)

    def _clips_of(self, item: int) -> NDArray[np.int64]:
        part = self.index.gallery.part(item)
        return np.arange(part.start, part.stop)

    def _spans(self, item: int) -> NDArray[np.float32]:
        return self.index.gallery.spans[self.index.gallery.part(item)]

    def _hit(self, item: int, score: float, start: float, end: float) -> Hit:
        video = self.index.gallery.videos[item]
        return Hit(
            rank=0,
            path=video.path,
            score=round(score, 6),
            start=round(start, 3),
            end=round(end, 3),
            label=video.label,
            there=is_there(video),
            item=item,
        )
