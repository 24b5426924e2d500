"""`vidssl merge`: makes one index of shards, whose segments are renamed and not copied."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.data.shards import Shard
from vidssl_cli.files.atomic import sync_folder
from vidssl_cli.files.locks import is_locked, locked
from vidssl_cli.files.sealed_folder import MANIFEST, discard, listed, sha256
from vidssl_cli.files.verified import note_whole
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search.build import Summary
from vidssl_cli.search.compaction import compacted, wasteful
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import encoder_folder, is_index, next_segment, tidy
from vidssl_cli.search.layout import IndexSettings
from vidssl_cli.search.publish import publish_generation
from vidssl_cli.search.segments import PATH, PATH_CHECK, Segment, open_segment
from vidssl_cli.search.shards import (
    Record,
    comparable,
    find_segment,
    open_shard,
    read_record,
    shards_in,
)
from vidssl_cli.search.store import Index, open_index

_AGAIN = "run its job again, with the same RUN, DATA and options as those of the other shards"


@dataclass(frozen=True)
class _Done:
    """A shard that is done."""

    folder: Path
    record: Record
    segment: Segment | None


def merge_shards(out: Path) -> Summary:
    """Put the shards in the folder of an index into it, and delete what is left of them.

    The index answers as one that one process has built. A merge that was killed is continued by
    the next.

    Raises:
        UsageError: There are no shards, or not of one DATA, network and way to index.
        DamagedFileError: A shard or the index is damaged.
        VidsslError: A shard is missing or not done, or none has a video.
    """
    folders = shards_in(out)
    if not folders:
        raise UsageError(
            f"there are no shards in {out}",
            where=str(out),
            hint="make them by `vidssl index RUN --data DATA --out INDEX --shard I/N`",
        )
    with locked(out, "vidssl merge"):
        _refuse_several(folders)
        old = open_index(out) if is_index(out) else None
        shards = [done for folder, shard in folders.items() if (done := _read(out, folder, shard))]
        segments: list[Segment] = []
        if old and _are_merged(shards, old):  # by a merge that was killed after that
            index, gallery, replaced = old, old.gallery, 0
        else:
            _require_all(folders, shards)
            settings = _common_settings(shards, old)
            _refuse_overlap(shards)
            tidy(out)
            segments = [_moved(out, shard) for shard in shards if shard.record.segment]
            gallery, replaced = _added(segments, old)
            _publish(out, settings, gallery, old)
            index = open_index(out)
        told = {shard.folder for shard in shards if shard.record.segment}
        for folder in sorted(folders, key=told.__contains__):  # last those that tell of the merge
            if not is_locked(folder):
                discard(folder)
    broken = {row["path"]: row for shard in shards for row in shard.record.broken}
    return Summary(
        index=str(out),
        generation=index.folder.name,
        videos=len(gallery),
        clips=gallery.clips,
        dimension=gallery.features["clip"].shape[1],
        added=sum(map(len, segments)) - replaced,
        changed=replaced,
        renamed=0,
        removed=0,
        factory=index.settings.factory,
        standardise=index.settings.standardise,
        broken=[*broken.values()],
    )


def _read(out: Path, folder: Path, shard: Shard) -> _Done | None:
    """Read a shard; None if it is not done.

    Raises:
        VidsslError: Its job is running.
        UsageError: It is another.
        DamagedFileError: It is damaged.
    """
    with locked(folder, f"vidssl index --shard {shard}"):
        try:
            record = read_record(folder)
            segment = open_shard(out, folder, record)
        except FileNotFoundError:
            return None
        except DamagedFileError as error:
            raise DamagedFileError(
                f"the shard {shard} is damaged: {error}", where=error.where, hint=_AGAIN
            ) from None
    if record.shard != str(shard):
        raise UsageError(
            f"{folder} holds the shard {record.shard}, so that this would be merged twice",
            where=str(folder),
            hint=f"delete the folder, and run the job of {shard}",
        )
    return _Done(folder, record, segment)


def _refuse_several(folders: Mapping[Path, Shard]) -> None:
    """Refuse shards of different numbers of shards, and two of one number."""
    counts = Counter(shard.count for shard in folders.values())
    if len(counts) > 1:
        found = " and ".join(f"{n} of {count}" for count, n in sorted(counts.items()))
        raise UsageError(
            f"there are shards of different cuts of DATA: {found}",
            where=str(next(iter(folders)).parent),
            hint="delete the folders shard-I-of-N of all cuts but one",
        )
    for one, other in combinations(folders, 2):
        if folders[one] == folders[other]:
            raise UsageError(
                f"the shard {folders[one]} is there twice: {one.name} and {other.name}",
                where=str(other),
                hint="delete one of the folders",
            )


def _are_merged(shards: Sequence[_Done], old: Index) -> bool:
    """Tell whether the segment of a shard is in the index."""
    known = {sha256(each.folder / MANIFEST) for each in old.gallery.segments if each.sealed}
    return any(shard.record.segment in known for shard in shards)


def _require_all(folders: Mapping[Path, Shard], shards: Sequence[_Done]) -> None:
    """Refuse to merge some of the shards only."""
    count = next(iter(folders.values())).count
    begun = {shard.number for shard in folders.values()}
    done = {folders[shard.folder].number for shard in shards}
    missing = _listed({*range(1, count + 1)} - begun, "is missing", "are missing")
    undone = _listed(begun - done, "was begun and is not done", "were begun and are not done")
    if found := "; ".join(each for each in (missing, undone) if each):
        raise VidsslError(
            f"of {count} shards, {found}",
            where=str(next(iter(folders)).parent),
            hint=f"run `vidssl index RUN --data DATA --out INDEX --shard I/{count}` for each of "
            "them, and merge again",
        )


def _listed(numbers: set[int], one: str, several: str) -> str:
    """Return numbers, at most ten, and what is the matter with them."""
    shown = [str(number) for number in sorted(numbers)]
    if len(shown) > 10:
        shown[9:] = [f"{len(shown) - 9} more"]
    names = " and ".join(each for each in (", ".join(shown[:-1]), *shown[-1:]) if each)
    return f"{names} {one if len(numbers) == 1 else several}" if numbers else ""


def _common_settings(shards: Sequence[_Done], old: Index | None) -> IndexSettings:
    """Return how all shards were made.

    Raises:
        UsageError: One was made otherwise than most, or the index was.
    """
    usual = Counter(_essence(shard.record) for shard in shards).most_common(1)[0][0]
    like = next(shard.record for shard in shards if _essence(shard.record) == usual)
    for shard in shards:
        if differences := _differences(shard.record, like):
            raise UsageError(
                f"the shard {shard.record.shard} does not go with the others: it was made "
                f"{differences[0]}",
                where=str(shard.folder),
                hint=_AGAIN,
            )
    if old and comparable(old.settings) != comparable(like.settings):
        raise UsageError(
            f"the shards do not go with the index in {old.folder.parent}: it was made by another "
            "network, with another evaluation of it, or with another --every",
            where=str(old.folder.parent),
            hint="give the shards' jobs another --out",
        )
    return like.settings


def _essence(record: Record) -> str:
    return f"{record.settings.model_dump_json()} {record.data}"


def _differences(record: Record, like: Record) -> list[str]:
    """Return what of a shard was made otherwise than in most of them."""
    was, usual = record.settings, like.settings
    told = {
        "by another network": was.encoder != usual.encoder,
        "with another evaluation of the network": was.evaluation != usual.evaluation,
        f"with --every {was.every}, not {usual.every}": was.every != usual.every,
        f"with --factory {was.factory}, not {usual.factory}": was.factory != usual.factory,
        f"with{'' if was.standardise else 'out'} standardising": (
            was.standardise != usual.standardise
        ),
        f"of other DATA, or of DATA as it was at another time: {record.of} videos, not {like.of}": (
            record.of != like.of
        ),
        "of other DATA, or when other videos of it were in the index": record.data != like.data,
    }
    return [what for what, differs in told.items() if differs]


def _refuse_overlap(shards: Sequence[_Done]) -> None:
    """Refuse two shards that have the same video."""
    there = [(shard, shard.segment) for shard in shards if shard.segment]
    if not there:
        return
    paths = np.concatenate([segment.keys[[PATH, PATH_CHECK]].T for _, segment in there])
    _, rows, counts = np.unique(paths, axis=0, return_index=True, return_counts=True)
    if len(rows) == len(paths):
        return
    twice = np.flatnonzero((paths == paths[rows[counts > 1].min()]).all(1))[:2]
    ends = np.cumsum([len(segment) for _, segment in there])
    (one, segment), (other, _) = (there[n] for n in np.searchsorted(ends, twice, side="right"))
    video = segment.video(int(np.flatnonzero(segment.keys[PATH] == paths[twice[0], 0])[0]))
    raise UsageError(
        f"the shards {one.record.shard} and {other.record.shard} both have {video.path}",
        where=str(other.folder),
        hint="delete the folder of the one that is not of this DATA, and run its job again",
    )


def _moved(out: Path, shard: _Done) -> Segment:
    """Return a shard's segment, which is in the folder of the index from now on."""
    place = find_segment(out, shard.folder, shard.record)
    assert place  # it was opened
    if place.parent != out:
        target = next_segment(out)
        try:
            os.rename(place, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise VidsslError(
                f"{shard.folder} is on another file system than {out}, and segments are renamed, "
                "not copied",
                where=str(shard.folder),
                hint="copy that folder to the other file system, instead of a link to it",
            ) from None
        sync_folder(out)
        note_whole(target)
        place = target
    return open_segment(place, listed(place))


def _added(segments: Sequence[Segment], old: Index | None) -> tuple[Gallery, int]:
    """Return the gallery with the segments, and how many of its videos they replace.

    Raises:
        VidsslError: There is no video.
    """
    if old is None:
        if not segments:
            raise VidsslError("no shard has a video that could be embedded")
        return Gallery(segments, np.empty(0, np.int64), {}), 0
    before = old.gallery
    if not segments:
        return before, 0
    items = np.concatenate([before.find_paths(segment.keys) for segment in segments])
    leaving = items[items >= 0]
    changed = {item: video for item, video in before.changed.items() if item not in leaving}
    removed = np.union1d(before.removed, leaving)
    return Gallery([*before.segments, *segments], removed, changed), len(leaving)


def _publish(out: Path, settings: IndexSettings, gallery: Gallery, old: Index | None) -> None:
    """Publish a gallery, if it or how it is made is new."""
    if old and old.gallery is gallery and old.settings == settings:
        return
    model = encoder_folder(out, settings.encoder)
    if not model.is_dir():
        raise DamagedFileError(
            "the network that made the shards is missing",
            where=str(model),
            hint="run the job of any of the shards again, which puts it there",
        )
    if wasteful(gallery):
        gallery, old = compacted(out, gallery), None
    publish_generation(out, settings, gallery, Encoder.load(model, "cpu"), old)
