"""An index on disk, opened for searching; `vidssl_cli.search.layout` says of what it consists."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.files.open_files import allow_open_files
from vidssl_cli.files.sealed_folder import MANIFEST, held, sha256, verify
from vidssl_cli.files.untrusted_text import read_json, understood
from vidssl_cli.files.verified import verify_once
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search import engines, factories
from vidssl_cli.search.approximate import faiss_engine, foreign_engine, read_faiss
from vidssl_cli.search.exact import exact_engine
from vidssl_cli.search.first_layout import read_first_layout
from vidssl_cli.search.generations import (
    HINT,
    LAYOUT,
    POINTER,
    missing_generation,
    read_pointer,
)
from vidssl_cli.search.layout import Contents, read_contents, read_layout
from vidssl_cli.search.levels import Level, LevelName
from vidssl_cli.search.segments import FILES, Segment, open_segment

Opened = TypeVar("Opened", bound="Index")


class Index:
    """One generation, open for searching; features are read from disk as they are needed.

    Builders keep the generation as long as this, or one of its levels, lives.
    """

    def __init__(self, folder: Path, digest: str) -> None:
        """Open a generation.

        Raises:
            DamagedFileError: A file is damaged, or the manifest has not this SHA-256.
            ValidationError: Another version of vidssl wrote it.
        """
        reading = ExitStack()
        reading.enter_context(held(folder))
        weakref.finalize(self, reading.close)
        self.folder = folder
        self._encoders: dict[str, Encoder] = {}
        self._files = _verified(folder, digest, f"{POINTER} means", [LAYOUT])
        with understood(folder / LAYOUT):
            version = read_json(folder / LAYOUT)["version"]
        read = read_first_layout if version == 1 else _read_contents
        self._contents = read(folder, self._files)
        self.settings = self._contents.settings
        self.gallery = self._contents.gallery
        self.encoder = self._contents.encoder
        self.trained = self._contents.trained
        self.scaling, self.inverse = self._contents.scaling, self._contents.inverse

    def load_encoder(self, device: str = "auto") -> Encoder:
        """Return the network that made the index; it is loaded once for each device.

        Raises:
            DamagedFileError: It is damaged, or another.
        """
        if known := self._encoders.get(device):
            return known
        encoder = Encoder.load(self.encoder, device)
        if encoder.digest != self.settings.encoder:
            raise DamagedFileError(
                f"it is another network than that of the index: the SHA-256 of its weights is "
                f"{encoder.digest}, not {self.settings.encoder}",
                where=str(self.encoder),
                hint=HINT,
            )
        self._encoders[device] = encoder
        return encoder

    def level(
        self,
        name: LevelName,
        device: str = "cpu",
        foreign: Path | None = None,
        items: NDArray[np.int64] | None = None,
    ) -> Level:
        """Return the videos, or the clips, of the index.

        Args:
            name: ``video`` or ``clip``.
            device: To search on.
            foreign: A FAISS index of the same vectors to search instead, which vidssl did not
                write.
            items: Videos that can be found, which are then compared one and all, whatever the kind
                of the index; None means all that the index has.

        A search raises VidsslError where the index needs FAISS and that is not installed, and
        DamagedFileError where the foreign index is not one of these vectors.
        """
        features, scaling = self.gallery.features[name], self.scaling[name]
        inverse = self.inverse[name]
        if items is not None:
            removed = self.gallery.entries_but(name, items)
            engine = partial(exact_engine, features, scaling, inverse, removed)
        else:
            removed = self.gallery.removed_entries(name)
            engine = partial(self._engine, name, device, foreign, removed)
        return Level(features, scaling, removed, engine, str(self.folder.parent), inverse)

    def _engine(
        self, level: LevelName, device: str, foreign: Path | None, removed: NDArray[np.int64]
    ) -> engines.Engine:
        features, scaling = self.gallery.features[level], self.scaling[level]
        if foreign:
            return engines.scaled(
                foreign_engine(foreign, len(features), features.shape[1], device), scaling
            )
        if self.settings.factory == factories.EXACT:
            if not device.startswith("cuda"):
                return exact_engine(features, scaling, self.inverse[level], removed)
            vectors = engines.unit_vectors(np.asarray(features), scaling).astype(np.float32)
            return engines.scaled(engines.torch_engine(vectors, device), scaling)
        index, own = self.faiss(level)
        return engines.scaled(faiss_engine(index, device), own)

    def faiss(self, level: LevelName, *, mapped: bool = True) -> tuple[Any, NDArray[np.float64]]:
        """Return the FAISS index of a level, and the scaling of its vectors.

        Args:
            level: ``video`` or ``clip``.
            mapped: As for `read_faiss`.

        Raises:
            VidsslError: FAISS is not installed.
            DamagedFileError: There is none.
        """
        engines.require_faiss(self.settings.factory)
        if (name := f"{level}.faiss") not in self._files:
            raise DamagedFileError(
                f"the manifest does not name {name}", where=str(self.folder / MANIFEST), hint=HINT
            )
        index = read_faiss(self.folder / name, mapped=mapped)
        return index, self._contents.faiss_scaling.get(level, self.scaling[level])


def open_index(folder: Path) -> Index:
    """Open the newest generation of an index, after checking its files.

    Raises:
        UsageError: The folder is not an index.
        DamagedFileError: A file of it is damaged or missing.
    """
    return open_index_as(Index, folder)


def open_index_as(kind: type[Opened], folder: Path) -> Opened:
    """Open an index as a type of one's own; see `open_index`."""
    while True:
        name, digest = read_pointer(folder)
        try:
            return kind(folder / name, digest)
        except ValidationError as error:
            raise DamagedFileError(
                f"the index was made by another version of vidssl ({error.error_count()} "
                "unknown settings)",
                where=str(folder / name / LAYOUT),
                hint="index the data again with --overwrite",
            ) from None
        except (DamagedFileError, FileNotFoundError):
            # Builders delete old generations: was this one replaced while it was being read?
            if read_pointer(folder) == (name, digest):
                if not (folder / name).is_dir():
                    raise missing_generation(folder, name, digest) from None
                raise


def verify_index(folder: Path) -> None:
    """Read every byte of the newest generation of an index.

    Raises:
        UsageError: The folder is not an index.
        DamagedFileError: A file of it is damaged or missing.
    """
    index = open_index(folder)
    segments = (segment.folder for segment in index.gallery.segments)
    for part in sorted({index.folder, index.encoder, *segments}):
        verify(part)


def _read_contents(folder: Path, files: Mapping[str, str]) -> Contents:
    """Read a generation and its segments."""
    layout = read_layout(folder, files)
    allow_open_files(len(FILES) * len(layout.segments))
    segments = []
    for part in layout.segments:
        segments.append(
            verified_segment(folder.parent / part.name, part.manifest, str(folder / LAYOUT))
        )
    return read_contents(folder, layout, segments)


def verified_segment(folder: Path, digest: str, source: str) -> Segment:
    """Open a segment, after checking its files.

    Args:
        folder: The segment.
        digest: SHA-256 of its manifest.
        source: The file that has the digest.

    Raises:
        DamagedFileError: A file is damaged, or the manifest is another.
    """
    return open_segment(folder, _verified(folder, digest, f"{source} means", FILES))


def _verified(folder: Path, digest: str, meant: str, names: Sequence[str]) -> Mapping[str, str]:
    """Check a sealed folder of the index whose manifest has a known digest."""
    manifest = folder / MANIFEST
    if manifest.is_file() and (found := sha256(manifest)) != digest:
        raise DamagedFileError(
            f"the manifest is not the one that {meant}: its SHA-256 is {found}, not {digest}",
            where=str(manifest),
            hint=HINT,
        )
    return verify_once(folder, *names)
