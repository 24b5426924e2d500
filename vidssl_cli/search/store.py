"""An index on disk, opened for searching.

A generation, one of those that `vidssl_cli.search.generations` finds, holds

    index.json     how the index was made
    gallery.jsonl  the videos (N); itself a manifest
    clip.npy       (M, D) features of all clips, as the network gave them
    video.npy      (N, D) their means over each video
    clips.npy      (N,) clips of each video
    spans.npy      (M, 2) start and end of each clip in seconds
    stamps.npy     (N, 2) size and time of change of each file
    scaling.npy    (2, 2, D) what standardises videos and clips
    *.faiss        FAISS indexes over both, where FAISS is installed
    encoder/       the exported model

and refers to nothing outside, so that an index may be copied and moved.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.config.sections import Evaluation, Section
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.files.sealed_folder import MANIFEST, held, sha256, verify
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search import engines
from vidssl_cli.search.generations import HINT, POINTER, missing_generation, read_pointer
from vidssl_cli.search.levels import LEVELS, Level, LevelName, unit_vectors

SETTINGS, GALLERY = "index.json", "gallery.jsonl"
ARRAYS = ("clip", "video", "clips", "spans", "stamps", "scaling")
FILES = (SETTINGS, GALLERY, *(f"{name}.npy" for name in ARRAYS))
"""What is read of every generation."""


class IndexSettings(Section):
    """How an index was made: the content of `index.json`."""

    version: Literal[1] = 1
    """Of this layout."""
    encoder: str
    """SHA-256 of the weights."""
    evaluation: Evaluation
    """How the gallery was embedded; queries are embedded the same way."""
    factory: Annotated[str, Field(max_length=engines.LONGEST)] = engines.EXACT
    """FAISS factory string, or one of the short names of `engines.expand_factory`."""
    standardise: bool = False
    """Whether features are standardised by the gallery's mean and deviation."""


@dataclass(frozen=True)
class Gallery:
    """Videos (N) and the features of their clips (M)."""

    videos: Sequence[Video]
    stamps: NDArray[np.int64]
    """(N, 2) size in bytes and time of change in ns of each file when it was embedded."""
    clips: NDArray[np.int64]
    """(N,) clips of each video."""
    features: NDArray[np.float32]
    """(M, D) clip after clip, video after video; not normalised."""
    spans: NDArray[np.float32]
    """(M, 2) start and end of each clip in seconds."""

    def part(self, video: int) -> slice:
        """Return which of the M clips are of one video."""
        end = int(self.clips[: video + 1].sum())
        return slice(end - int(self.clips[video]), end)

    def owner(self, clip: int) -> int:
        """Return the video that one of the M clips is of."""
        return int(np.searchsorted(np.cumsum(self.clips), clip, side="right"))


class Index:
    """One generation, open for searching; features are read from disk as they are needed.

    Builders keep the generation as long as this, or one of its levels, lives.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        """Open a generation.

        Raises:
            DamagedFileError: A file is damaged, or the manifest has not this SHA-256.
        """
        reading = ExitStack()
        reading.enter_context(held(folder))
        weakref.finalize(self, reading.close)
        manifest = folder / MANIFEST
        if manifest.is_file() and (found := sha256(manifest)) != digest:
            raise DamagedFileError(
                f"the manifest is not the one that {POINTER} means: its SHA-256 is {found}, "
                f"not {digest}",
                where=str(manifest),
                hint=HINT,
            )
        self._files = verify(folder, *FILES)
        self.folder = folder
        self.settings = IndexSettings.model_validate_json((folder / SETTINGS).read_bytes())
        with understood(folder):
            self.gallery = Gallery(
                read_manifest(folder / GALLERY),
                np.load(folder / "stamps.npy"),
                np.load(folder / "clips.npy"),
                np.load(folder / "clip.npy", "r"),
                np.load(folder / "spans.npy"),
            )
            video, scaling = np.load(folder / "video.npy", "r"), np.load(folder / "scaling.npy")
            _refuse_mixture(self.gallery, video, scaling)
        self._features = {"video": video, "clip": self.gallery.features}
        self._scaling = dict(zip(LEVELS, scaling, strict=True))
        self.items = {video.path: item for item, video in enumerate(self.gallery.videos)}
        """Numbers of the videos by their paths."""

    def level(self, name: LevelName, device: str = "cpu", foreign: Path | None = None) -> Level:
        """Return the videos, or the clips, of the index.

        Args:
            name: ``video`` or ``clip``.
            device: To search on.
            foreign: A FAISS index of the same vectors to search instead, which vidssl did not
                write.

        A search raises VidsslError where the index needs FAISS and that is not installed, and
        DamagedFileError where the foreign index is not one of these vectors.
        """
        engine = partial(self._engine, name, device, foreign)
        return Level(self._features[name], self._scaling[name], engine)

    def _engine(self, level: LevelName, device: str, foreign: Path | None) -> engines.Engine:
        features = self._features[level]
        if foreign:
            size, dimension = features.shape
            return engines.foreign_engine(foreign, size, dimension, device)
        faiss = engines.load_faiss()
        name = f"{level}.faiss"
        exact = self.settings.factory == engines.EXACT
        by_torch = faiss is None or (device.startswith("cuda") and not engines.has_gpu(faiss))
        if exact and (by_torch or name not in self._files):
            vectors = unit_vectors(features, self._scaling[level]).astype(np.float32)
            return engines.torch_engine(vectors, device)
        faiss = engines.require_faiss(self.settings.factory)
        if name not in self._files:
            raise DamagedFileError(
                f"the manifest does not name {name}", where=str(self.folder / MANIFEST), hint=HINT
            )
        return engines.faiss_engine(faiss.read_index(str(self.folder / name)), device)


def open_index(folder: Path) -> Index:
    """Open the newest generation of an index, after checking every byte of it.

    Raises:
        UsageError: The folder is not an index.
        DamagedFileError: A file of it is damaged or missing.
    """
    while True:
        name, digest = read_pointer(folder)
        try:
            return Index(folder / name, digest)
        except ValidationError as error:
            raise DamagedFileError(
                f"the index was made by another version of vidssl ({error.error_count()} "
                "unknown settings)",
                where=str(folder / name / SETTINGS),
                hint="index the data again with --overwrite",
            ) from None
        except (DamagedFileError, FileNotFoundError):
            # Builders delete old generations: was this one replaced while it was being read?
            if read_pointer(folder) == (name, digest):
                if not (folder / name).is_dir():
                    raise missing_generation(folder, name, digest) from None
                raise


def _refuse_mixture(
    gallery: Gallery, video: NDArray[np.float32], scaling: NDArray[np.float64]
) -> None:
    """Refuse arrays that do not belong together.

    Raises:
        ValueError: A shape, a type or a number is not what `publish` writes.
    """
    videos, (clips, dimension) = len(gallery.videos), gallery.features.shape
    expected: dict[str, tuple[NDArray[Any], tuple[int, ...]]] = {
        "clip.npy": (gallery.features, (clips, dimension)),
        "video.npy": (video, (videos, dimension)),
        "clips.npy": (gallery.clips, (videos,)),
        "spans.npy": (gallery.spans, (clips, 2)),
        "stamps.npy": (gallery.stamps, (videos, 2)),
        "scaling.npy": (scaling, (len(LEVELS), 2, dimension)),
    }
    for name, (array, shape) in expected.items():
        if array.shape != shape or array.dtype.kind not in "if":
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not numbers {shape}")
        if not np.isfinite(array.sum(dtype=np.float64)):  # makes no other array as large
            raise ValueError(f"{name} holds numbers that are not finite")
    if (gallery.clips < 1).any() or gallery.clips.sum() != clips:
        raise ValueError(f"clips.npy does not count {clips} clips")
