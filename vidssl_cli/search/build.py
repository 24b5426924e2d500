"""`vidssl index`: embeds videos, or those that are new, and publishes an index of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch

from vidssl_cli.base.console import leave_out, say
from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.locks import locked
from vidssl_cli.model.embedding import Every
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import pool_tap
from vidssl_cli.search import factories
from vidssl_cli.search.compaction import compacted, joined, wasteful
from vidssl_cli.search.entries import JOURNAL, Embedder, batches, embed_entries
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import SHARDS, is_foreign, is_index, next_segment, tidy
from vidssl_cli.search.layout import IndexSettings
from vidssl_cli.search.plan import Plan, stamp_of
from vidssl_cli.search.publish import publish_generation
from vidssl_cli.search.segments import Segment, write_segment
from vidssl_cli.search.store import Index, open_index


@dataclass(frozen=True)
class Summary:
    """What `build_index` did: the JSON document of `vidssl index`."""

    index: str
    generation: str
    videos: int
    """In the index now, as clips are."""
    clips: int
    dimension: int
    added: int
    changed: int
    """Embedded again, since their files changed."""
    renamed: int
    """Known by another path, at which there is no file any more."""
    removed: int
    """Taken out by ``prune``."""
    factory: str
    standardise: bool
    broken: list[dict[str, str]]
    """``{"path", "reason"}`` of every video of DATA that could not be read."""


class NothingLeftError(VidsslError):
    """An index would have no video, so it is not written: exit status 1."""

    code = "nothing_left"


def build_index(
    encoder: Encoder,
    data: Sequence[Video],
    out: Path,
    *,
    factory: str | None = None,
    standardise: bool | None = None,
    every: Every | None = None,
    overwrite: bool = False,
    prune: bool = False,
    broken: Sequence[MediaError] = (),
    embedder: Embedder | None = None,
) -> Summary:
    """Make an index of the videos, or add them to the one that is there.

    Only videos that are new or whose file has changed are embedded. Adding in parts gives the same
    answers as adding all at once, and nothing is written when nothing changes.

    Args:
        encoder: The network; the index keeps a copy of it.
        data: With their facts.
        out: Folder of the index.
        factory: FAISS factory string or short name; None keeps what the index has, at first that
            of `factories.default_factory`.
        standardise: Standardise features by the gallery's mean and deviation; None keeps what the
            index has, at first what the recipe says.
        every: Where the clips of each video are; None keeps what the index has, at first ``clip``.
        overwrite: Replace the index that is there.
        prune: Take out videos whose files are gone.
        broken: Videos that a scan left out: they are in the summary, and leave the index if their
            files have changed.
        embedder: Embeds instead of this process; see `embed_entries`.

    Raises:
        UsageError: ``out`` holds something else, or an index by another network or of other clips,
            or FAISS cannot build such an index over so many videos.
        DamagedFileError: The index is damaged.
        BusyError: Another process is writing it.
        NothingLeftError: No video could be embedded, or the files of all are gone.
    """
    refuse_foreign(out)
    skipped: list[MediaError] = []
    with locked(out, "vidssl index"):
        old = open_index(out) if is_index(out) and not overwrite else None
        tidy(out)
        if any(out.glob(SHARDS)):
            say(f"{out} has shards that are not merged yet, by: vidssl merge {out}")
        settings = choose_settings(
            encoder, old.settings if old else None, factory, standardise, every
        )
        gallery = old.gallery if old else None
        plan = Plan(gallery, data, prune=prune, broken=broken)
        total = len(plan.new) + (len(gallery.stamps) if gallery else 0)
        check_factory(settings.factory, encoder, total)
        segment = embed_segment(encoder, settings, plan, out, skipped, embedder)
        for error in skipped:
            leave_out(error)
        updated = plan.applied(segment)
        if updated is None:
            raise _nothing_left(data, plan)
        if factory is None:
            settings = _of_kind(settings, gallery, updated)
        if old and old.settings == settings and updated is gallery:
            generation = old.folder
        else:
            generation = _publish(out, settings, updated, encoder, old)
        (out / JOURNAL).unlink(missing_ok=True)
    return Summary(
        index=str(out),
        generation=generation.name,
        videos=len(updated),
        clips=updated.clips,
        dimension=updated.features["clip"].shape[1],
        added=(len(segment) if segment else 0) - plan.replaced(segment),
        changed=plan.replaced(segment),
        renamed=len(plan.renamed),
        removed=len(plan.gone),
        factory=settings.factory,
        standardise=settings.standardise,
        broken=[error.row for error in (*broken, *skipped)],
    )


def embed_segment(
    encoder: Encoder,
    settings: IndexSettings,
    plan: Plan,
    folder: Path,
    skipped: list[MediaError],
    embedder: Embedder | None = None,
    earlier: Segment | None = None,
) -> Segment | None:
    """Embed what is new into the next segment of a folder; return None if there is none.

    The arguments are those of `embed_entries`.

    Raises:
        NoRoomError: The index would not fit on the disk; raised when the first is embedded.
    """
    found = embed_entries(
        encoder, settings, plan.new, plan.stamps, folder, skipped, embedder, earlier
    )
    if (first := next(found, None)) is None:
        return None
    path = next_segment(folder)
    return write_segment(path, batches(chain([first], found), path))


def _of_kind(settings: IndexSettings, before: Gallery | None, now: Gallery) -> IndexSettings:
    """Choose the kind of a new index by its size; one that is there is only advised, and once."""
    kind, size = _default(now), len(now.spans)
    if settings.factory != factories.EXACT or kind == factories.EXACT:
        return settings
    slow = f"{size:,} clips: exact search may take more than a tenth of a second a query"
    if before is None:
        say(f"{slow}, so the index is {kind}, which finds nearly all; --factory Flat is exact")
        return settings.model_copy(update={"factory": kind})
    if _default(before) == factories.EXACT:
        say(f"{slow}; --factory {kind} is faster and finds nearly all")
    return settings


def _default(gallery: Gallery) -> str:
    return factories.default_factory(*gallery.features["clip"].shape)


def _nothing_left(data: Sequence[Video], plan: Plan) -> NothingLeftError:
    if plan.gone:
        return NothingLeftError(
            "the files of all videos of the index are gone; it stays as it is",
            hint="is their disk mounted? else delete the index",
        )
    if not data:
        return NothingLeftError(
            "the files of all videos of the index were replaced by ones that cannot be read; it "
            "stays as it is",
            hint="see the warnings above; else delete the index",
        )
    return NothingLeftError(
        f"none of the {len(data)} videos could be embedded", hint="see the warnings above"
    )


def _publish(
    out: Path, settings: IndexSettings, gallery: Gallery, encoder: Encoder, old: Index | None
) -> Path:
    """Publish a gallery, after joining segments where that pays."""
    if wasteful(gallery):
        gallery, old = compacted(out, gallery), None
    else:
        segments = joined(out, gallery.segments)
        gallery = Gallery(segments, gallery.removed, gallery.changed)
    return publish_generation(out, settings, gallery, encoder, old)


def check_factory(factory: str | None, encoder: Encoder, videos: int | None = None) -> None:
    """Refuse a factory string before any video is read; see `factories.check_factory`.

    Args:
        factory: None stands for that of an index, which is good.
        encoder: The network that embeds.
        videos: How many there will be at most; None if it is not known yet.

    Raises:
        UsageError: FAISS cannot build such an index.
        VidsslError: FAISS is not installed.
    """
    if factory is None or factory == factories.EXACT:
        return
    clip = torch.zeros(1, 3, encoder.card.frames, *2 * (encoder.card.input.crop,))
    tap = encoder.taps_of(clip.to(encoder.device))[encoder.evaluation.tap]
    strides = Windows(stride=encoder.evaluation.stride).strides
    dimension = len(strides) * pool_tap(tap, encoder.evaluation.pool).shape[1]
    factories.check_factory(factory, dimension, videos)


class UnchangedVideos(Mapping[str, Video]):
    """The videos of an index whose files have not changed, by path; each is read when asked for.

    A scan takes their facts over instead of decoding them again.
    """

    def __init__(self, out: Path, scanned: Mapping[str, Video] | None = None) -> None:
        """Open the index, if there is one.

        Args:
            out: The index.
            scanned: Others that have not changed, by path.

        Raises:
            DamagedFileError: It is damaged.
        """
        self._gallery = open_index(out).gallery if is_index(out) else None
        self._scanned = scanned or {}

    def __getitem__(self, path: str) -> Video:
        if other := self._scanned.get(path):
            return other
        if self._gallery:
            (item,) = self._gallery.find([Video(path)]).tolist()
            if item >= 0 and tuple(self._gallery.stamps[item].tolist()) == stamp_of(path):
                video: Video = self._gallery.videos[item]
                return video
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        yield from self._scanned
        if self._gallery:
            for item in self._gallery.items.tolist():
                path = self._gallery.videos[item].path
                if path in self and path not in self._scanned:
                    yield path

    def __len__(self) -> int:
        return sum(1 for _ in self)


def refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds something else than an index."""
    if is_foreign(out):
        raise UsageError(
            f"{out} holds something else than an index", where=str(out), hint="choose another --out"
        )


def choose_settings(
    encoder: Encoder,
    old: IndexSettings | None,
    factory: str | None,
    standardise: bool | None,
    every: Every | None,
) -> IndexSettings:
    """Return how an index is made, from what it was and what is asked for; None changes nothing.

    Raises:
        UsageError: The index that is there was made by another network, or of other clips.
    """
    digest, evaluation = encoder.digest, encoder.evaluation
    if old is None:
        old = IndexSettings(
            encoder=digest,
            evaluation=evaluation,
            standardise=evaluation.standardise,
            every=every or "clip",
        )
    if (old.encoder, old.evaluation) != (digest, evaluation):
        raise UsageError(
            "the index was made by another network, or with another evaluation of it, so its "
            "vectors cannot be compared with those of new videos",
            where="RUN",
            hint="give the run that made it, choose another --out, or replace it by --overwrite",
        )
    if every not in (None, old.every):
        raise UsageError(
            f"the index was made with --every {old.every}, so --every {every} would mix clips of "
            "both kinds",
            where="--every",
            hint="leave it out, choose another --out, or replace the index by --overwrite",
        )
    chosen = {"factory": factory, "standardise": standardise}
    return old.model_copy(update={key: v for key, v in chosen.items() if v is not None})
