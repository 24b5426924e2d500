"""Writing an index: a generation at a time, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.files.disk_space import require_room
from vidssl_cli.files.sealed_folder import MANIFEST, publish, sha256
from vidssl_cli.search import engines
from vidssl_cli.search.store import (
    FACTS,
    GALLERY,
    LEVELS,
    POINTER,
    Facts,
    Gallery,
    _number,
    _read_pointer,
    _unit,
    tidy,
)

if TYPE_CHECKING:
    from vidssl_cli.model.encoder import Encoder


def publish_generation(folder: Path, facts: Facts, gallery: Gallery, encoder: Encoder) -> Path:
    """Write a generation, make it the newest, and delete all but it and the one before.

    Raises:
        UsageError: FAISS cannot build such an index over this gallery.
        NoRoomError: It does not fit; the index is as it was.
    """
    name = _next_name(folder)

    def write(draft: Path) -> None:
        (draft / FACTS).write_text(facts.model_dump_json(indent=2) + "\n")
        write_manifest(draft / GALLERY, gallery.videos)
        np.save(draft / "clip.npy", gallery.features)
        np.save(draft / "video.npy", _means(gallery))
        np.save(draft / "clips.npy", gallery.clips)
        np.save(draft / "spans.npy", gallery.spans)
        np.save(draft / "stamps.npy", gallery.stamps)
        _write_searchable(draft, facts)
        encoder.export(draft / "encoder")

    clips, dimension = gallery.features.shape
    publish(folder / name, write, size=_size(len(gallery.videos), clips, dimension, encoder))
    pointer = {"generation": name, "manifest": sha256(folder / name / MANIFEST)}
    atomic_write(folder / POINTER, sealed_json.render(pointer))
    tidy(folder)
    return folder / name


def require_room_for(
    folder: Path, videos: int, clips: int, dimension: int, encoder: Encoder
) -> None:
    """Refuse to embed what could not be written.

    Raises:
        NoRoomError: An index of so many videos and clips does not fit beside what is there.
    """
    require_room(folder, _size(videos, clips, dimension, encoder), "the index")


def _size(videos: int, clips: int, dimension: int, encoder: Encoder) -> int:
    """Return the bytes of features and weights; FAISS indexes come on top."""
    weights: int = sum(tensor.nbytes for tensor in encoder.backbone.state_dict().values())
    return 4 * dimension * (videos + clips) + weights


def _next_name(folder: Path) -> str:
    """Name the next generation; one of that name, whose builder was killed, nobody points to."""
    try:
        newest = _number(_read_pointer(folder)[0])
    except (UsageError, DamagedFileError):
        newest = 0
    return f"generation-{newest + 1:06d}"


def _write_searchable(draft: Path, facts: Facts) -> None:
    """Write the scaling and the FAISS indexes of features that were written before."""
    scalings = []
    for level in LEVELS:
        features = np.load(draft / f"{level}.npy", "r")
        scalings.append(_scaling(features, facts.standardise))
        if facts.factory != engines.EXACT or engines.load_faiss() is not None:
            vectors = _unit(features, scalings[-1]).astype(np.float32)
            engines.write_faiss(vectors, facts.factory, draft / f"{level}.faiss")
    np.save(draft / "scaling.npy", np.stack(scalings))


def _means(gallery: Gallery) -> NDArray[np.float32]:
    """Return the mean over the clips of each video (N, D)."""
    starts = np.cumsum(gallery.clips) - gallery.clips
    sums = np.add.reduceat(gallery.features, starts, dtype=np.float64)
    return (sums / gallery.clips[:, None]).astype(np.float32)


def _scaling(features: NDArray[np.float32], standardise: bool) -> NDArray[np.float64]:
    """Return (2, D): what to subtract from each dimension, and what to multiply it with.

    As `metrics.standardise`: a dimension in which the gallery does not vary becomes 0.
    """
    if not standardise:
        return np.stack([np.zeros(features.shape[1]), np.ones(features.shape[1])])
    mean = features.mean(0, dtype=np.float64)
    deviation = features.std(0, dtype=np.float64)
    varies = deviation > 1e-9 * np.abs(features).max(0)
    return np.stack([mean, varies / np.where(varies, deviation, 1)])
