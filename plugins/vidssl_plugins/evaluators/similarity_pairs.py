"""Tables of pairs of videos, for protocols that compare two (ASLAN)."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video

COLUMNS = ("first", "second", "same", "fold")


@dataclass(frozen=True)
class Pairs:
    """Which videos are compared, and whether they show the same."""

    videos: NDArray[np.int64]
    """(P, 2) places in the list of videos."""
    same: NDArray[np.bool_]
    """(P,) whether both show the same."""
    fold: NDArray[np.str_]
    """(P,) the fold that each pair is in."""

    @property
    def folds(self) -> list[str]:
        """Return the folds in the order of the table."""
        return list(dict.fromkeys(self.fold.tolist()))


def read_pairs(file: Path, videos: Sequence[Video]) -> Pairs:
    """Read a CSV with the columns first, second, same (0 or 1) and fold; others are ignored.

    A video is named by its file, with or without the ending, and by as many of the folders above it
    as make the name unique.

    Raises:
        UsageError: The file is missing or not such a table, it names a video that is not there or
            not unique, or a fold has pairs of one kind only.
    """
    hint = "a table of pairs has the columns first, second, same and fold: docs/evaluation.md"
    if not file.is_file():
        raise UsageError(f"pairs: {file} is not a file", where="pairs", hint=hint)
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as text:
        reader = csv.DictReader(text, skipinitialspace=True)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as error:
            where = f"{file}:{reader.line_num}"
            raise UsageError(f"{where}: {error}", where=where, hint=hint) from None
        columns = reader.fieldnames or ()
    if missing := [name for name in COLUMNS if name not in columns]:
        raise UsageError(f"{file} has no column {missing[0]!r}", where=str(file), hint=hint)
    places = _places(videos)
    numbers, same, folds = [], [], []
    for line, row in rows:
        where = f"{file}:{line}"
        numbers.append([_find(where, row[column] or "", places) for column in COLUMNS[:2]])
        if row["same"] not in ("0", "1") or not row["fold"]:
            problem = f"same is 0 or 1, not {row['same']!r}" if row["fold"] else "there is no fold"
            raise UsageError(f"{where}: {problem}", where=where, hint=hint)
        same.append(row["same"] == "1")
        folds.append(row["fold"])
    _check_folds(file, Counter(zip(folds, same, strict=True)))
    return Pairs(np.array(numbers, dtype=np.int64), np.array(same), np.array(folds))


def _places(videos: Sequence[Video]) -> dict[str, list[int]]:
    """Return the places of the videos by each of their names."""
    places = defaultdict(list)
    for place, video in enumerate(videos):
        path = PurePath(video.path)
        for name in {path, path.with_suffix("")}:
            for depth in range(len(name.parts)):
                places[PurePath(*name.parts[depth:]).as_posix()].append(place)
    return places


def _find(where: str, name: str, places: dict[str, list[int]]) -> int:
    found = places.get(name, [])
    if len(found) != 1:
        problem = f"{len(found)} videos are called" if found else "there is no video"
        raise UsageError(
            f"{where}: {problem} {name!r} in the data",
            where=where,
            hint="name the file, with the folders above it where the name alone is not unique",
        )
    return found[0]


def _check_folds(file: Path, counts: Counter[tuple[str, bool]]) -> None:
    folds = {fold for fold, _ in counts}
    if len(folds) < 2:
        raise UsageError(
            f"{file} has {len(folds)} fold",
            where=str(file),
            hint="pairs are divided into two folds or more, each tested once",
        )
    for fold in sorted(folds):
        for same in (True, False):
            if not counts[fold, same]:
                kind = "the same" if same else "not the same"
                raise UsageError(f"{file}: no pair of fold {fold} is {kind}", where=str(file))
