"""What an index on disk consists of.

A generation, one of those that `vidssl_cli.search.generations` finds, says which segments
(`vidssl_cli.search.segments`) an index has, and holds what is of all of them:

    index.json    how the index was made, and its segments
    removed.npy   numbers of the videos that are no longer in it, ascending
    changed.jsonl rows that replace those of segments, with the number as ``_item``
    scaling.npy   (2, 2, D) what standardises videos and clips
    *.lengths.npy (N,) and (M,) inverse lengths of the scaled videos and clips, for exact search
    *.faiss       FAISS indexes over both, if the index is not exact
    *.scaling.npy (2, D) what their vectors were standardised with

Nothing refers to what is outside of the folder, so an index may be copied and moved.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.config.sections import Evaluation, Section
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.manifest import row_reader
from vidssl_cli.files.sealed_folder import MANIFEST
from vidssl_cli.files.untrusted_text import parse_json, read_lines, understood
from vidssl_cli.model.embedding import Every
from vidssl_cli.search import factories
from vidssl_cli.search.gallery import Gallery
from vidssl_cli.search.generations import HINT, LAYOUT, encoder_folder
from vidssl_cli.search.levels import LEVELS, LevelName
from vidssl_cli.search.recall import Recall

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.search.segments import Segment

REMOVED, CHANGED, SCALING = "removed.npy", "changed.jsonl", "scaling.npy"
ITEM = "_item"
"""Key of a row's number in `CHANGED`."""
FILES = (LAYOUT, REMOVED, CHANGED, SCALING, *(f"{level}.lengths.npy" for level in LEVELS))
"""What every generation has."""


class IndexSettings(Section):
    """How an index was made."""

    encoder: str
    """SHA-256 of the weights."""
    evaluation: Evaluation
    """How the gallery was embedded; queries are embedded the same way."""
    factory: Annotated[str, Field(max_length=factories.LONGEST)] = factories.EXACT
    """FAISS factory string, or one of the short names of `factories.expand_factory`."""
    standardise: bool = False
    """Whether features are standardised by the gallery's mean and deviation."""
    every: Every = "recipe"
    """Where the clips of the gallery are."""


class Part(Section):
    """A segment of an index."""

    name: Annotated[str, Field(pattern=r"^segment-\d+$")]
    manifest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its manifest."""


class Layout(Section):
    """What an index consists of: the content of `index.json`."""

    version: Literal[2] = 2
    """Of this layout."""
    settings: IndexSettings
    segments: Annotated[tuple[Part, ...], Field(min_length=1)]
    trained: Mapping[LevelName, int] = {}
    """Entries that the FAISS index of a level was trained with, if there is one."""
    recall: Mapping[LevelName, Recall] = {}
    """What a FAISS index found of the neighbours of a sample."""


@dataclass(frozen=True)
class Contents:
    """What a generation says."""

    settings: IndexSettings
    gallery: Gallery
    encoder: Path
    """The model folder of the network that made it."""
    scaling: Mapping[LevelName, NDArray[np.float64]]
    """(2, D) of each level."""
    inverse: Mapping[LevelName, NDArray[np.float32]]
    """Of `vidssl_cli.search.exact.inverse_lengths`."""
    trained: Mapping[LevelName, int]
    """As in `Layout`."""
    faiss_scaling: Mapping[LevelName, NDArray[np.float64]]
    """(2, D) of the FAISS index of a level, if it is not that of the level."""


def read_layout(folder: Path, files: Container[str]) -> Layout:
    """Read which segments a generation has.

    Args:
        folder: The generation.
        files: Those of it that have been verified.

    Raises:
        DamagedFileError: A file is missing.
        ValidationError: Another version of vidssl wrote it.
    """
    require_named(folder, files, FILES)
    layout = Layout.model_validate_json((folder / LAYOUT).read_bytes())
    require_named(folder, files, [f"{level}.scaling.npy" for level in layout.trained])
    return layout


def require_named(folder: Path, files: Container[str], names: Iterable[str]) -> None:
    """Refuse a folder whose manifest does not name what will be read."""
    for name in names:
        if name not in files:
            raise DamagedFileError(
                f"the manifest does not name {name}", where=str(folder / MANIFEST), hint=HINT
            )


def read_contents(folder: Path, layout: Layout, segments: Sequence[Segment]) -> Contents:
    """Read a generation whose segments are open.

    Raises:
        DamagedFileError: It is not what `publish_generation` writes.
    """
    with understood(folder):
        removed = np.load(folder / REMOVED)
        gallery = Gallery(segments, removed, _read_changed(folder / CHANGED))
        scaling = np.load(folder / SCALING)
        inverse = {level: np.load(folder / f"{level}.lengths.npy", "r") for level in LEVELS}
        own = {level: np.load(folder / f"{level}.scaling.npy") for level in layout.trained}
        _refuse_mixture(gallery, scaling, inverse)
        if any(each.shape != scaling[0].shape for each in own.values()):
            raise ValueError("a FAISS index was made of other features")
    return Contents(
        layout.settings,
        gallery,
        encoder_folder(folder.parent, layout.settings.encoder),
        dict(zip(LEVELS, scaling, strict=True)),
        inverse,
        layout.trained,
        own,
    )


def _read_changed(path: Path) -> dict[int, Video]:
    """Read the rows that replace others, by number."""
    read = row_reader(path)
    return {int(parse_json(line)[ITEM]): read(line) for _, line in read_lines(path)}


def _refuse_mixture(
    gallery: Gallery, scaling: NDArray[np.float64], inverse: Mapping[LevelName, NDArray[Any]]
) -> None:
    """Refuse arrays that do not belong together.

    Raises:
        ValueError: A shape, a type or a number is not what `publish` writes.
    """
    entries = {level: gallery.features[level].shape for level in LEVELS}
    dimension = entries["clip"][1]
    if len({segment.features["clip"].shape[1] for segment in gallery.segments}) > 1:
        raise ValueError("the segments have features of different dimensions")
    if scaling.shape != (len(LEVELS), 2, dimension) or not np.isfinite(scaling).all():
        raise ValueError(f"{SCALING} is {scaling.shape}, or not finite")
    for level in LEVELS:
        if inverse[level].shape != entries[level][:1] or not np.isfinite(inverse[level]).all():
            raise ValueError(
                f"{level}.lengths.npy is {inverse[level].dtype} {inverse[level].shape}"
            )
    known, removed = len(gallery.stamps), gallery.removed
    if removed.dtype != np.int64 or removed.ndim != 1 or (np.diff(removed) <= 0).any():
        raise ValueError(f"{REMOVED} does not ascend")
    for item in (*removed[[0, -1]].tolist(), *gallery.changed) if len(removed) else gallery.changed:
        if not 0 <= item < known:
            raise ValueError(f"there is no video {item} of {known}")
    if not len(gallery):
        raise ValueError("all videos are removed")
