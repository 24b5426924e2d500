"""Writes a generation of an index, whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import row_writer
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.sealed_folder import MANIFEST, publish, sha256
from vidssl_cli.files.verified import note_whole
from vidssl_cli.search import engines, factories
from vidssl_cli.search.approximate import faiss_engine, write_faiss
from vidssl_cli.search.columns import Column
from vidssl_cli.search.exact import inverse_lengths
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import LAYOUT, encoder_folder, next_name, write_pointer
from vidssl_cli.search.layout import CHANGED, ITEM, REMOVED, SCALING, IndexSettings, Layout, Part
from vidssl_cli.search.levels import LEVELS, Level, LevelName
from vidssl_cli.search.recall import Recall, tune
from vidssl_cli.search.store import Index

if TYPE_CHECKING:
    from vidssl_cli.model.encoder import Encoder

_GROWTH = 2
"""How many times as many entries as it was trained with a FAISS index gets before it is trained
anew."""


def publish_generation(
    folder: Path, settings: IndexSettings, gallery: Gallery, encoder: Encoder, old: Index | None
) -> Path:
    """Write a generation, make it the newest, and delete all but it and the one before.

    Args:
        folder: The index.
        settings: How it was made.
        gallery: Its videos; the segments lie in the folder.
        encoder: The network; written if it is not there.
        old: The generation before, if this one begins with all its videos; FAISS indexes of it are
            added to.

    Raises:
        UsageError: FAISS cannot build such an index over this gallery.
        NoRoomError: It does not fit; the index is as it was.
    """
    name, model = next_name(folder), encoder_folder(folder, settings.encoder)
    if not model.is_dir():
        encoder.export(model)

    def write(draft: Path) -> None:
        np.save(draft / REMOVED, gallery.removed)
        _write_changed(draft / CHANGED, gallery.changed)
        scalings: dict[LevelName, NDArray[np.float64]] = {}
        trained: dict[LevelName, int] = {}
        recall: dict[LevelName, Recall] = {}
        for level in LEVELS:
            features = gallery.features[level]
            scalings[level] = _scaling(gallery, level, settings)
            once = level == "video" or not gallery.one_clip_each
            if once:
                lengths = inverse_lengths(features, scalings[level])
            np.save(draft / f"{level}.lengths.npy", lengths)
            if settings.factory == factories.EXACT:
                continue
            if once:
                index, own, count = _faiss(features, scalings[level], settings, level, old)
                entries = Level(
                    features, scalings[level], gallery.removed_entries(level),
                    partial(engines.scaled, faiss_engine(index), own), str(folder), lengths,
                )  # fmt: skip
                found = tune(index, entries, level)
            trained[level], recall[level] = count, found
            np.save(draft / f"{level}.scaling.npy", own)
            write_faiss(index, draft / f"{level}.faiss")
        np.save(draft / SCALING, np.stack([scalings[level] for level in LEVELS]))
        parts = [
            Part(name=segment.folder.name, manifest=sha256(segment.folder / MANIFEST))
            for segment in gallery.segments
        ]
        layout = Layout(settings=settings, segments=tuple(parts), trained=trained, recall=recall)
        (draft / LAYOUT).write_text(layout.model_dump_json(indent=2) + "\n")

    publish(folder / name, write, size=4 * (len(gallery.stamps) + len(gallery.spans)))
    note_whole(folder / name)
    write_pointer(folder, name)
    return folder / name


def require_room_for(
    folder: Path, videos: int, clips: int, dimension: int, encoder: Encoder, what: str = "the index"
) -> None:
    """Refuse to embed what could not be written.

    Raises:
        NoRoomError: An index of so many videos and clips does not fit on the disk.
    """
    weights: int = sum(tensor.nbytes for tensor in encoder.backbone.state_dict().values())
    require_room(folder, 4 * dimension * (videos + clips) + weights, what)


def _write_changed(path: Path, changed: Mapping[int, Video]) -> None:
    """Write the rows that replace others, with their numbers."""
    row = row_writer(path)
    with path.open("w", encoding="utf-8") as file:
        for item, video in sorted(changed.items()):
            file.write(f'{{"{ITEM}": {item}, {row(video)[1:]}')


def _scaling(gallery: Gallery, level: LevelName, settings: IndexSettings) -> NDArray[np.float64]:
    """Return (2, D) that standardises the features of a level, or leaves them as they are."""
    statistics = gallery.statistics(level)
    if settings.standardise:
        return statistics.scaling()
    return np.stack([np.zeros_like(statistics.mean), np.ones_like(statistics.mean)])


def _faiss(
    features: Column,
    scaling: NDArray[np.float64],
    settings: IndexSettings,
    level: LevelName,
    old: Index | None,
) -> tuple[Any, NDArray[np.float64], int]:
    """Return a FAISS index of a level, the scaling of its vectors, and how many trained it.

    What was trained before is added to, until there are `_GROWTH` times as many entries; what needs
    no training is made anew.
    """
    size = len(features)
    trained = old.trained.get(level, 0) if old else 0
    same = old is not None and old.settings.factory == settings.factory
    if old and same and settings.factory != factories.HALF and size < _GROWTH * trained:
        index, scaling = old.faiss(level, mapped=False)
        for rows in factories.UnitVectors(features, scaling).blocks(index.ntotal):
            index.add(rows)
        return index, scaling, trained
    vectors = factories.UnitVectors(features, scaling)
    return factories.build_faiss(vectors, settings.factory), scaling, size
