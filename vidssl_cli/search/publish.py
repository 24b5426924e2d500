"""Writes a generation of an index, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.metrics import scaling
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.sealed_folder import publish
from vidssl_cli.search import engines
from vidssl_cli.search.generations import next_name, write_pointer
from vidssl_cli.search.levels import LEVELS, unit_vectors
from vidssl_cli.search.store import GALLERY, SETTINGS, Gallery, IndexSettings

if TYPE_CHECKING:
    from vidssl_cli.model.encoder import Encoder


def publish_generation(
    folder: Path, settings: IndexSettings, gallery: Gallery, encoder: Encoder
) -> Path:
    """Write a generation, make it the newest, and delete all but it and the one before.

    Raises:
        UsageError: FAISS cannot build such an index over this gallery.
        NoRoomError: It does not fit; the index is as it was.
    """
    name = next_name(folder)

    def write(draft: Path) -> None:
        (draft / SETTINGS).write_text(settings.model_dump_json(indent=2) + "\n")
        write_manifest(draft / GALLERY, gallery.videos)
        np.save(draft / "clip.npy", gallery.features)
        np.save(draft / "video.npy", _means(gallery))
        np.save(draft / "clips.npy", gallery.clips)
        np.save(draft / "spans.npy", gallery.spans)
        np.save(draft / "stamps.npy", gallery.stamps)
        _write_searchable(draft, settings)
        encoder.export(draft / "encoder")

    clips, dimension = gallery.features.shape
    publish(folder / name, write, size=_size(len(gallery.videos), clips, dimension, encoder))
    write_pointer(folder, name)
    return folder / name


def require_room_for(
    folder: Path, videos: int, clips: int, dimension: int, encoder: Encoder
) -> None:
    """Refuse to embed what could not be written.

    Raises:
        NoRoomError: An index of so many videos and clips does not fit on the disk.
    """
    require_room(folder, _size(videos, clips, dimension, encoder), "the index")


def _size(videos: int, clips: int, dimension: int, encoder: Encoder) -> int:
    """Return the bytes of features and weights; FAISS indexes come on top."""
    weights: int = sum(tensor.nbytes for tensor in encoder.backbone.state_dict().values())
    return 4 * dimension * (videos + clips) + weights


def _write_searchable(draft: Path, settings: IndexSettings) -> None:
    """Write the scaling and the FAISS indexes of features that were written before."""
    scalings = []
    for level in LEVELS:
        features = np.load(draft / f"{level}.npy", "r")
        unscaled = np.stack([np.zeros(features.shape[1]), np.ones(features.shape[1])])
        scalings.append(scaling(features) if settings.standardise else unscaled)
        if settings.factory != engines.EXACT or engines.load_faiss() is not None:
            vectors = unit_vectors(features, scalings[-1]).astype(np.float32)
            engines.write_faiss(vectors, settings.factory, draft / f"{level}.faiss")
    np.save(draft / "scaling.npy", np.stack(scalings))


def _means(gallery: Gallery) -> NDArray[np.float32]:
    """Return the mean over the clips of each video (N, D)."""
    starts = np.cumsum(gallery.clips) - gallery.clips
    sums = np.add.reduceat(gallery.features, starts, dtype=np.float64)
    return (sums / gallery.clips[:, None]).astype(np.float32)
