"""An index on disk: generations that are published whole, and a pointer to the newest.

    CURRENT               the newest generation, and the SHA-256 of its manifest
    generation-000002/    index.json     how it was made
                          gallery.jsonl  the videos (N); itself a manifest
                          clip.npy       (M, D) features of all clips, as the network gave them
                          video.npy      (N, D) their means over each video
                          clips.npy      (N,) clips of each video
                          spans.npy      (M, 2) start and end of each clip in seconds
                          stamps.npy     (N, 2) size and time of change of each file
                          scaling.npy    (2, 2, D) what standardises videos and clips
                          *.faiss        FAISS indexes over both, where FAISS is installed
                          encoder/       the exported model
    generation-000001/    the one before, for readers that are still at it

A generation refers to nothing outside, so an index may be copied and moved, and readers see whole
generations whatever a builder does meanwhile.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.config.sections import Evaluation, Section
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import sweep
from vidssl_cli.files.sealed_folder import MANIFEST, discard, held, sha256, verify
from vidssl_cli.files.untrusted_text import understood
from vidssl_cli.search import engines

Level = Literal["video", "clip"]
LEVELS: tuple[Level, Level] = ("video", "clip")
POINTER = "CURRENT"
FACTS, GALLERY = "index.json", "gallery.jsonl"
ARRAYS = ("clip", "video", "clips", "spans", "stamps", "scaling")
FILES = (FACTS, GALLERY, *(f"{name}.npy" for name in ARRAYS))
"""What is read of every generation."""

_GENERATIONS = "generation-[0-9]*"
_NAME = re.compile(r"generation-\d+")
_HINT = "restore the index from a copy, or index the data again with --overwrite"


class Facts(Section):
    """How an index was made: the content of `index.json`."""

    version: Literal[1] = 1
    """Of this layout."""
    encoder: str
    """SHA-256 of the weights."""
    evaluation: Evaluation
    """How the gallery was embedded; queries are embedded the same way."""
    factory: Annotated[str, Field(max_length=engines.LONGEST)] = engines.EXACT
    """FAISS factory string, or one of the short names of `search.expand_factory`."""
    standardise: bool = False
    """Whether the gallery's mean and deviation are taken out of every dimension."""


@dataclass(frozen=True)
class Gallery:
    """Videos (N) and what the network says of their clips (M)."""

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

    Builders keep the generation as long as this lives.
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
                hint=_HINT,
            )
        files = verify(folder, *FILES)
        self.folder = folder
        self._files = files
        self.facts = Facts.model_validate_json((folder / FACTS).read_bytes())
        with understood(folder):
            self.gallery = Gallery(
                read_manifest(folder / GALLERY),
                np.load(folder / "stamps.npy"),
                np.load(folder / "clips.npy"),
                np.load(folder / "clip.npy", "r"),
                np.load(folder / "spans.npy"),
            )
            video = np.load(folder / "video.npy", "r")
            self._raw = {"clip": self.gallery.features, "video": video}
            scaling = np.load(folder / "scaling.npy")
            self._refuse_mixture(scaling)
            self._scaling = dict(zip(LEVELS, scaling, strict=True))
        self.items = {video.path: item for item, video in enumerate(self.gallery.videos)}
        """Numbers of the videos by their paths."""

    def _refuse_mixture(self, scaling: NDArray[np.float64]) -> None:
        """Refuse arrays that do not belong together."""
        gallery, (entries, dimension) = self.gallery, self.gallery.features.shape
        videos = len(gallery.videos)
        expected = {
            "clip.npy": (gallery.features, (entries, dimension)),
            "video.npy": (self._raw["video"], (videos, dimension)),
            "clips.npy": (gallery.clips, (videos,)),
            "spans.npy": (gallery.spans, (entries, 2)),
            "stamps.npy": (gallery.stamps, (videos, 2)),
            "scaling.npy": (scaling, (len(LEVELS), 2, dimension)),
        }
        for name, (array, shape) in expected.items():
            if array.shape != shape or array.dtype.kind not in "if":
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not numbers {shape}")
            if not np.isfinite(array.sum(dtype=np.float64)):  # makes no other array as large
                raise ValueError(f"{name} holds numbers that are not finite")
        if (gallery.clips < 1).any() or gallery.clips.sum() != entries:
            raise ValueError(f"clips.npy does not count {entries} clips")

    def entries_of(self, level: Level, item: int) -> int:
        """Return how many entries of a level are of one video."""
        return 1 if level == "video" else int(self.gallery.clips[item])

    def size(self, level: Level) -> int:
        """Return how many entries a level has, N or M."""
        return len(self._raw[level])

    def unit(self, level: Level, features: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Scale features (…, D) as this index does, and to length 1."""
        return _unit(features, self._scaling[level])

    def vectors(self, level: Level, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the vectors (n, D) of some entries of a level."""
        return self.unit(level, self._raw[level][ids])

    def engine(self, level: Level, device: str, foreign: Path | None = None) -> engines.Engine:
        """Return what searches a level.

        Args:
            level: ``video`` or ``clip``.
            device: To search on.
            foreign: A FAISS index of the same vectors to search instead, which vidssl did not
                write.

        Raises:
            VidsslError: The index needs FAISS, which is not installed.
            DamagedFileError: The foreign one is no index of these vectors.
        """
        if foreign:
            size, dimension = self._raw[level].shape
            return engines.foreign_engine(foreign, size, dimension, device)
        faiss = engines.load_faiss()
        name = f"{level}.faiss"
        exact = self.facts.factory == engines.EXACT
        by_torch = faiss is None or (device.startswith("cuda") and not engines.has_gpu(faiss))
        if exact and (by_torch or name not in self._files):
            vectors = self.unit(level, self._raw[level]).astype(np.float32)
            return engines.torch_engine(vectors, device)
        faiss = engines.require_faiss(self.facts.factory)
        if name not in self._files:
            raise DamagedFileError(
                f"the manifest does not name {name}", where=str(self.folder / MANIFEST), hint=_HINT
            )
        return engines.faiss_engine(faiss.read_index(str(self.folder / name)), device)


def open_index(folder: Path) -> Index:
    """Open the newest generation of an index, after checking every byte of it.

    Raises:
        UsageError: The folder is not an index.
        DamagedFileError: A file of it is damaged or missing.
    """
    while True:
        name, digest = _read_pointer(folder)
        try:
            return Index(folder / name, digest)
        except ValidationError as error:
            raise DamagedFileError(
                f"the index was made by another version of vidssl ({error.error_count()} "
                "unknown settings)",
                where=str(folder / name / FACTS),
                hint="index the data again with --overwrite",
            ) from None
        except (DamagedFileError, FileNotFoundError):
            # Builders delete old generations: was this one replaced while it was being read?
            if _read_pointer(folder) == (name, digest):
                if not (folder / name).is_dir():
                    raise _missing_generation(folder, name, digest) from None
                raise


def tidy(folder: Path) -> None:
    """Delete what no reader of an index can be at: all but the newest generation and its elder.

    Raises:
        UsageError, DamagedFileError: There is no pointer to the newest, or it is damaged.
    """
    sweep(folder)
    newest = _number(_read_pointer(folder)[0])
    for path in folder.glob(_GENERATIONS):
        if _number(path.name) not in (newest - 1, newest):
            discard(path)


def is_index(folder: Path) -> bool:
    """Tell whether a folder holds an index."""
    return (folder / POINTER).is_file()


def is_foreign(folder: Path) -> bool:
    """Tell whether a folder holds something else than an index, or one that was never finished."""
    found = {path.name for path in folder.glob("[!.]*")}
    return POINTER not in found and not found <= {path.name for path in folder.glob(_GENERATIONS)}


def _read_pointer(folder: Path) -> tuple[str, str]:
    path = folder / POINTER
    if not path.is_file() and not any(folder.glob("generation-*")):
        raise UsageError(
            f"{folder} is not an index: it has no {POINTER}",
            where=str(folder),
            hint="give the folder that --out named in `vidssl index`",
        )
    with understood(path):
        pointer = sealed_json.read(path, _HINT)
        name: str = pointer["generation"]
        digest: str = pointer["manifest"]
        known = _NAME.fullmatch(name)
    if not known:
        raise _missing_generation(folder, name, digest)
    return name, digest


def _missing_generation(folder: Path, name: str, digest: str) -> DamagedFileError:
    return DamagedFileError(
        f"there is no {name}, whose manifest had the SHA-256 {digest}",
        where=str(folder / POINTER),
        hint=_HINT,
    )


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


def _unit(features: NDArray[np.floating[Any]], scaling: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale features (…, D), and to length 1; a vector of zeros stays."""
    scaled: NDArray[np.float64] = (features - scaling[0]) * scaling[1]
    scaled /= np.maximum(np.linalg.norm(scaled, axis=-1, keepdims=True), 1e-12)
    return scaled
