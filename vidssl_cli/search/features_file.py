"""Features as a file for other programs: NumPy's .npz, or Parquet.

Letters: R rows, D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.files.atomic import replacing
from vidssl_cli.search.columns import BLOCK

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.embedding import Embedded
    from vidssl_cli.search.levels import LevelName
    from vidssl_cli.search.store import Index

ENDINGS = (".npz", ".parquet")


@dataclass(frozen=True)
class Features:
    """Rows for a file: a video or clip each."""

    videos: Sequence[Video]
    """(R,)"""
    spans: NDArray[np.float32]
    """(R, 2) start and end in seconds."""
    vectors: NDArray[np.float32]
    """(R, D)"""

    def columns(self) -> dict[str, Any]:
        """Return the columns of the file but for the vectors; what is not known is None."""
        return {
            "path": [video.path for video in self.videos],
            "label": [video.label for video in self.videos],
            "split": [video.split for video in self.videos],
            "start": self.spans[:, 0],
            "end": self.spans[:, 1],
        }


def of_embedded(found: Iterable[Embedded], level: LevelName) -> Iterator[Features]:
    """Yield the features of each video: of every clip, or their mean."""
    for item in found:
        features, spans = item.features, item.spans
        if level == "video":
            features = features.mean(0, dtype=np.float64)[None].astype(np.float32)
            spans = np.array([[spans[:, 0].min(), spans[:, 1].max()]], np.float32)
        yield Features([item.video] * len(features), spans, features)


def of_index(index: Index, level: LevelName, *, unit: bool) -> Iterator[Features]:
    """Yield the features of an index, a block at a time.

    Args:
        index: Whose features.
        level: Those of videos, or of clips.
        unit: As the index compares them: standardised if it does that, and of length 1, so that
            scalar products are its scores.
    """
    gallery, ranked = index.gallery, index.level(level)
    for first in range(0, len(gallery.items), BLOCK):
        items = gallery.items[first : first + BLOCK].tolist()
        videos = [gallery.videos[item] for item in items]
        parts = [gallery.part(item) for item in items]
        clips = np.concatenate([np.arange(part.start, part.stop) for part in parts])
        counts = [part.stop - part.start for part in parts]
        spans = gallery.spans[clips]
        if level == "clip":
            rows, videos = clips, [v for v, n in zip(videos, counts, strict=True) for _ in range(n)]
        else:
            rows, starts = np.array(items), np.cumsum(counts) - counts
            ends = np.maximum.reduceat(spans[:, 1], starts)
            spans = np.stack([np.minimum.reduceat(spans[:, 0], starts), ends], 1)
        vectors = ranked.vectors(rows).astype(np.float32) if unit else gallery.features[level][rows]
        yield Features(videos, spans, vectors)


def write_features(path: Path, parts: Iterable[Features]) -> int:
    """Write rows to a file, whole or not at all; return how many there are.

    Raises:
        UsageError: The name ends in no format that is known.
        VidsslError: There are no rows, or Parquet needs pyarrow.
        NoRoomError: It does not fit.
    """
    require_format(path)
    write = _write_parquet if path.suffix == ".parquet" else _write_npz
    with replacing(path) as file:
        rows = write(file, parts)
        if not rows:
            raise VidsslError("there are no features to write", where=str(path))
    return rows


def require_format(path: Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        UsageError: The name ends in no format that is known, or something else has it.
        VidsslError: Parquet needs pyarrow.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(
            f"{path.name} does not end in {' or '.join(ENDINGS)}", where="--out",
            hint=".npz is for NumPy, .parquet for everything else",
        )  # fmt: skip
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise VidsslError(
            ".parquet needs pyarrow", hint="install it by `pip install 'vidssl[parquet]'`"
        )
    if path.exists() and not _is_features(path):
        raise UsageError(
            f"{path} is there already, and is no file of features", where="--out",
            hint="choose another name",
        )  # fmt: skip


def _is_features(path: Path) -> bool:
    """Tell whether a file is what `write_features` writes, by the names in it."""
    if not path.is_file():
        return False
    if path.suffix == ".npz":
        try:
            with ZipFile(path) as archive:
                return {"path.npy", "vector.npy"} <= {*archive.namelist()}
        except BadZipFile:
            return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = pq.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return {"path", "vector"} <= {*names}


def _write_npz(file: Any, parts: Iterable[Features]) -> int:
    """Write an archive of arrays; text that is not known is empty."""
    found = list(parts)
    if not found:
        return 0
    whole = _joined(found)
    columns: dict[str, Any] = {
        name: np.array([value or "" for value in values]) if isinstance(values, list) else values
        for name, values in whole.columns().items()
    }
    np.savez(file, **columns, vector=whole.vectors)
    return len(whole.videos)


def _write_parquet(file: Any, parts: Iterable[Features]) -> int:
    """Write a table, a row group for each part."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows, writer = 0, None
    for part in _grouped(parts):
        size, dimension = part.vectors.shape
        flat = pa.array(np.ascontiguousarray(part.vectors).reshape(-1))
        arrays: Mapping[str, Any] = {
            "id": pa.array(range(rows, rows + size), pa.int64()),
            **{
                name: pa.array([*map(_utf8, values)], pa.string())
                if isinstance(values, list)
                else pa.array(values, pa.float32())
                for name, values in part.columns().items()
            },
            "vector": pa.FixedSizeListArray.from_arrays(flat, dimension),
        }
        table = pa.table(arrays)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
        rows += size
    if writer:
        writer.close()
    return rows


def _utf8(text: str | None) -> str | None:
    r"""Return a name with what is not UTF-8 as JSON has it, such as ``\udcff``."""
    return text and text.encode(errors="backslashreplace").decode()


def _grouped(parts: Iterable[Features]) -> Iterator[Features]:
    """Join small parts, so that row groups are large."""
    group: list[Features] = []
    rows = 0
    for part in parts:
        group.append(part)
        rows += len(part.videos)
        if rows >= BLOCK:
            yield _joined(group)
            group, rows = [], 0
    if group:
        yield _joined(group)


def _joined(parts: Sequence[Features]) -> Features:
    return Features(
        [video for part in parts for video in part.videos],
        np.concatenate([part.spans for part in parts]),
        np.concatenate([part.vectors for part in parts]),
    )
