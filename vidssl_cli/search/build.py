"""`vidssl index`: embeds videos, or those that are new, and publishes an index of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vidssl_cli.base.console import leave_out
from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.contract.videos import Video
from vidssl_cli.files.locks import locked
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import pool_tap
from vidssl_cli.search import engines
from vidssl_cli.search.entries import JOURNAL, Entry, embed_entries, stamp_of
from vidssl_cli.search.generations import is_foreign, is_index, tidy
from vidssl_cli.search.publish import publish_generation
from vidssl_cli.search.store import Gallery, IndexSettings, open_index


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
    factory: str
    standardise: bool
    broken: list[dict[str, str]]
    """``{"path", "reason"}`` of every video of DATA that could not be read."""


def build_index(
    encoder: Encoder,
    data: Sequence[Video],
    out: Path,
    *,
    factory: str | None = None,
    standardise: bool | None = None,
    overwrite: bool = False,
    broken: Sequence[MediaError] = (),
) -> Summary:
    """Make an index of the videos, or add them to the one that is there.

    Only videos that are new or whose file has changed are embedded. Adding in parts gives the same
    index as adding all at once, and nothing is written when nothing changes.

    Args:
        encoder: The network; the index keeps a copy of it.
        data: With their facts.
        out: Folder of the index.
        factory: FAISS factory string or short name; None keeps what the index has, at first Flat.
        standardise: Standardise features by the gallery's mean and deviation; None keeps what the
            index has, at first what the recipe says.
        overwrite: Replace the index that is there.
        broken: Videos that a scan left out, for the summary.

    Raises:
        UsageError: ``out`` holds something else, or an index by another network, or FAISS cannot
            build such an index over so many videos.
        DamagedFileError: The index is damaged.
        VidsslError: No video could be embedded.
    """
    _refuse_foreign(out)
    skipped: list[MediaError] = []
    with locked(out, "vidssl index"):
        old = open_index(out) if is_index(out) and not overwrite else None
        if old:
            tidy(out)
        settings = _settings(encoder, old.settings if old else None, factory, standardise)
        known = _entries(old.gallery) if old else {}
        check_factory(settings.factory, encoder, len(known.keys() | {v.path for v in data}))
        entries = _update(encoder, settings, known, data, out, skipped)
        for error in skipped:
            leave_out(error)
        if not entries:
            raise VidsslError(
                f"none of the {len(data)} videos could be embedded", hint="see the warnings above"
            )
        gallery = _gallery(list(entries.values()))
        if old and old.settings == settings and list(known.values()) == list(entries.values()):
            generation = old.folder
        else:
            generation = publish_generation(out, settings, gallery, encoder)
        (out / JOURNAL).unlink(missing_ok=True)
    return Summary(
        index=str(out),
        generation=generation.name,
        videos=len(gallery.videos),
        clips=len(gallery.features),
        dimension=gallery.features.shape[1],
        added=len(entries.keys() - known.keys()),
        changed=sum(
            entry.features is not known[path].features
            for path, entry in entries.items()
            if path in known
        ),
        factory=settings.factory,
        standardise=settings.standardise,
        broken=[error.row for error in (*broken, *skipped)],
    )


def check_factory(factory: str | None, encoder: Encoder, videos: int | None = None) -> None:
    """Refuse a factory string before any video is read; see `engines.check_factory`.

    Args:
        factory: None stands for that of an index, which is good.
        encoder: The network that embeds.
        videos: How many there will be at most; None if it is not known yet.

    Raises:
        UsageError: FAISS cannot build such an index.
        VidsslError: FAISS is not installed.
    """
    if factory is None or factory == engines.EXACT:
        return
    clip = torch.zeros(1, 3, encoder.card.frames, *2 * (encoder.card.input.crop,))
    tap = encoder.taps_of(clip.to(encoder.device))[encoder.evaluation.tap]
    engines.check_factory(factory, pool_tap(tap, encoder.evaluation.pool).shape[1], videos)


def unchanged_videos(out: Path) -> dict[str, Video]:
    """Return, by path, the videos of an index whose files have not changed; none without an index.

    A scan takes their facts over instead of decoding them again.

    Raises:
        DamagedFileError: The index is damaged.
    """
    if not is_index(out):
        return {}
    entries = _entries(open_index(out).gallery)
    return {p: entry.video for p, entry in entries.items() if entry.stamp == stamp_of(p)}


def _refuse_foreign(out: Path) -> None:
    """Refuse a folder that holds something else than an index."""
    if is_foreign(out):
        raise UsageError(
            f"{out} holds something else than an index", where=str(out), hint="choose another --out"
        )


def _settings(
    encoder: Encoder, old: IndexSettings | None, factory: str | None, standardise: bool | None
) -> IndexSettings:
    digest, evaluation = encoder.digest, encoder.evaluation
    if old is None:
        old = IndexSettings(
            encoder=digest, evaluation=evaluation, standardise=evaluation.standardise
        )
    if (old.encoder, old.evaluation) != (digest, evaluation):
        raise UsageError(
            "the index was made by another network, or with another evaluation of it, so its "
            "vectors cannot be compared with those of new videos",
            where="RUN",
            hint="give the run that made it, choose another --out, or replace it by --overwrite",
        )
    chosen = {"factory": factory, "standardise": standardise}
    return old.model_copy(update={key: v for key, v in chosen.items() if v is not None})


def _update(
    encoder: Encoder,
    settings: IndexSettings,
    known: Mapping[str, Entry],
    data: Sequence[Video],
    out: Path,
    skipped: list[MediaError],
) -> dict[str, Entry]:
    """Return the entries by path: those known in their old order, then the new ones.

    Raises:
        NoRoomError: The index would not fit on the disk; raised when the first is embedded.
    """
    videos = {video.path: video for video in data}
    stamps = {path: stamp_of(path) for path in videos}
    stale = {p: v for p, v in videos.items() if p not in known or known[p].stamp != stamps[p]}
    entries = {p: entry for p, entry in known.items() if p not in stale}
    for path in videos.keys() - stale.keys():
        if entries[path].video != videos[path]:  # its label, say
            entries[path] = replace(entries[path], video=videos[path])
    for entry in embed_entries(encoder, settings, stale, stamps, out, len(entries), skipped):
        entries[entry.video.path] = entry
    order = [path for path in (*known, *(p for p in videos if p not in known)) if path in entries]
    return {path: entries[path] for path in order}


def _entries(gallery: Gallery) -> dict[str, Entry]:
    """Return the entries of a gallery by path."""
    entries = {}
    ends = np.cumsum(gallery.clips).tolist()
    for video, stamp, clips, end in zip(
        gallery.videos, gallery.stamps.tolist(), gallery.clips.tolist(), ends, strict=True
    ):
        part = slice(end - clips, end)
        entries[video.path] = Entry(
            video, tuple(stamp), gallery.features[part], gallery.spans[part]
        )
    return entries


def _gallery(entries: Sequence[Entry]) -> Gallery:
    """Return the gallery of entries."""
    return Gallery(
        videos=[entry.video for entry in entries],
        stamps=np.array([entry.stamp for entry in entries], dtype=np.int64),
        clips=np.array([len(entry.features) for entry in entries], dtype=np.int64),
        features=np.concatenate([entry.features for entry in entries], dtype=np.float32),
        spans=np.concatenate([entry.spans for entry in entries], dtype=np.float32),
    )
