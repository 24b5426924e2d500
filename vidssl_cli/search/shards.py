"""`vidssl index --shard 2/4`: embeds a part of DATA, for `vidssl merge` to put into the index.

Each shard has a folder of its own in that of the index, where it locks and writes:

    shard-2-of-4/.scanned         facts of videos so far
    shard-2-of-4/.embedded        what is embedded so far
    shard-2-of-4/segment-000001/  the videos and their features, once all are
    shard-2-of-4/shard.json       written last: how that was made, and from what

Videos of a shard follow each other in DATA, so that the segments of all shards, one after another,
are the segment that one process would have written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import leave_out, say, warn
from vidssl_cli.base.errors import DamagedFileError, MediaError
from vidssl_cli.config.sections import Section
from vidssl_cli.data.shards import Shard, Share
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write, sweep
from vidssl_cli.files.locks import locked
from vidssl_cli.files.sealed_folder import MANIFEST, sha256
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search.build import check_factory, choose_settings, embed_segment, refuse_foreign
from vidssl_cli.search.entries import JOURNAL, Embedder
from vidssl_cli.search.generations import (
    SHARD,
    SHARDS,
    discard_part,
    encoder_folder,
    has_digest,
    is_index,
    segments_in,
)
from vidssl_cli.search.layout import IndexSettings
from vidssl_cli.search.plan import Plan
from vidssl_cli.search.segments import Segment, keys_of
from vidssl_cli.search.store import open_index, verified_segment

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.embedding import Every
    from vidssl_cli.model.encoder import Encoder


class Record(Section):
    """What a shard says of itself: the content of `shard.json`."""

    shard: str
    """Such as ``2/4``."""
    settings: IndexSettings
    """How the index is to be made."""
    data: str
    """Of `vidssl_cli.data.shards.Share`."""
    of: int
    """Videos of all shards."""
    segment: str | None
    """SHA-256 of the segment's manifest; None where nothing had to be embedded, or nothing could
    be."""
    broken: tuple[dict[str, str], ...] = ()
    """``{"path", "reason"}`` of videos that could not be read."""


@dataclass(frozen=True)
class ShardSummary:
    """What `build_shard` did: the JSON document of `vidssl index --shard`."""

    index: str
    shard: str
    videos: int
    """Of this shard that are in no index yet, and now embedded."""
    clips: int
    of: int
    """Videos of all shards, in an index or not."""
    broken: list[dict[str, str]]


def shard_folder(out: Path, shard: Shard) -> Path:
    """Return the folder of a shard in that of an index."""
    return out / f"shard-{shard.number}-of-{shard.count}"


def shards_in(out: Path) -> dict[Path, Shard]:
    """Return the folders of shards in that of an index, by number."""
    found = {}
    for folder in out.glob(SHARDS):
        if match := re.fullmatch(r"shard-(\d+)-of-(\d+)", folder.name):
            found[folder] = Shard(int(match[1]), int(match[2]))
    return dict(sorted(found.items(), key=lambda each: (each[1].count, each[1].number)))


def build_shard(
    encoder: Encoder,
    videos: Sequence[Video],
    out: Path,
    share: Share,
    *,
    factory: str | None = None,
    standardise: bool | None = None,
    every: Every | None = None,
    broken: Sequence[MediaError] = (),
    embedder: Embedder | None = None,
) -> ShardSummary:
    """Embed those videos of a shard that the index does not have.

    Nothing is done if the shard is done and no file of it has changed. What can be used of an
    earlier run is not embedded again.

    Args:
        encoder: The network.
        videos: Of the shard, with their facts.
        out: Folder of the index, which may not be there yet.
        share: What took them from DATA.
        factory: As for `build_index`.
        standardise: Likewise.
        every: Likewise.
        broken: Videos of the shard that a scan left out.
        embedder: As for `build_index`.

    Raises:
        UsageError: As `build_index`.
        VidsslError: Another process is at this shard.
    """
    refuse_foreign(out)
    shard = share.shard
    folder = shard_folder(out, shard)
    with locked(folder, f"vidssl index --shard {shard}"):
        sweep(folder)
        old = open_index(out) if is_index(out) else None
        before = old.settings if old else None
        settings = choose_settings(encoder, before, factory, standardise, every)
        check_factory(settings.factory, encoder, share.of + (len(old.gallery.stamps) if old else 0))
        plan = Plan(old.gallery if old else None, videos, prune=False)
        record, segment = _earlier(out, folder, settings)
        model = encoder_folder(out, settings.encoder)
        digest = record.segment if record else None
        like = Record(
            shard=str(shard), settings=settings, data=share.data, of=share.of, segment=digest
        )
        if record == like and _has_all(segment, plan) and model.is_dir():
            say(f"shard {shard} is done already")
            return _summary(out, record, segment)
        skipped: list[MediaError] = []
        written = embed_segment(encoder, settings, plan, folder, skipped, embedder, segment)
        for error in skipped:
            leave_out(error)
        if not model.is_dir():
            encoder.export(model)
        digest = sha256(written.folder / MANIFEST) if written else None
        rows = tuple(error.row for error in (*broken, *skipped))
        record = like.model_copy(update={"segment": digest, "broken": rows})
        atomic_write(folder / SHARD, sealed_json.render(record.model_dump(mode="json")))
        (folder / JOURNAL).unlink(missing_ok=True)
        for other in segments_in(folder):
            if written is None or other != written.folder:
                discard_part(other)
        return _summary(out, record, written)


def read_record(folder: Path) -> Record:
    """Read what a shard says of itself.

    Raises:
        FileNotFoundError: It is not done.
        DamagedFileError: The file is damaged, or not what `build_shard` writes.
    """
    path = folder / SHARD
    if not path.exists():
        raise FileNotFoundError(path)
    with understood(path):
        return Record.model_validate(sealed_json.read(path, f"delete {path}, and make it again"))


def find_segment(out: Path, folder: Path, record: Record) -> Path | None:
    """Return where a shard's segment is: in its folder, or in that of the index already."""
    for path in (*segments_in(folder), *segments_in(out)):
        if record.segment and has_digest(path, record.segment):
            return path
    return None


def open_shard(out: Path, folder: Path, record: Record) -> Segment | None:
    """Open the segment of a shard; None if it has none.

    Raises:
        DamagedFileError: A file of it is damaged or missing.
    """
    if record.segment is None:
        return None
    place = find_segment(out, folder, record)
    if place is None:
        raise DamagedFileError("its segment is missing", where=str(folder))
    return verified_segment(place, record.segment, str(folder / SHARD))


def comparable(settings: IndexSettings) -> tuple[object, ...]:
    """Return what features must have in common to be in one index."""
    return settings.encoder, settings.evaluation, settings.every


def _earlier(
    out: Path, folder: Path, settings: IndexSettings
) -> tuple[Record | None, Segment | None]:
    """Return what an earlier run of a shard left, if it is whole and its features can be used."""
    try:
        record = read_record(folder)
        if comparable(record.settings) == comparable(settings):
            return record, open_shard(out, folder, record)
    except FileNotFoundError:
        pass
    except DamagedFileError as error:
        warn(f"{error.where}: {error}; the shard is made anew")
    return None, None


def _has_all(segment: Segment | None, plan: Plan) -> bool:
    """Tell whether a segment has what is to be embedded, and nothing else."""
    if segment is None or len(segment) != len(plan.new):
        return segment is None and not plan.new
    keys = keys_of([*plan.new.values()])
    rows = segment.find_paths(keys)
    stamps = np.array([*plan.stamps.values()], np.int64)
    return bool((segment.keys[:, rows] == keys).all() and (segment.stamps[rows] == stamps).all())


def _summary(out: Path, record: Record, segment: Segment | None) -> ShardSummary:
    return ShardSummary(
        index=str(out),
        shard=record.shard,
        videos=len(segment) if segment else 0,
        clips=segment.clips if segment else 0,
        of=record.of,
        broken=[*record.broken],
    )
