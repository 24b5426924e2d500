"""What DATA may be: folders, lists and the layouts of known data sets, turned into rows.

A layout says where the videos are and what they are called; nothing here opens one. docs/data.md
describes every layout.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import Video, read_manifest
from vidssl_cli.files.confine import HINT, Root
from vidssl_cli.files.untrusted_text import read_json, read_lines
from vidssl_cli.packed import is_packed_set, read_set

SUFFIXES = (
    *(".3g2", ".3gp", ".asf", ".avi", ".avif", ".dv", ".flv", ".gif", ".h264", ".hevc", ".ivf"),
    *(".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut"),
    *(".ogv", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv"),
)
"""Endings of files that a folder is searched for."""

SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
"""Names of split folders; ``val`` stands in for ``test`` where there is none."""

DIVING48 = {1: "Diving48", 2: "Diving48_V2"}
"""What the annotation files of its splits begin with: the first labels, and the corrected ones."""

_UCF101 = re.compile(r"v_(?P<group>(?P<label>\w+)_g\d+)_c\d+\.avi")


@dataclass(frozen=True)
class Lists:
    """Where the split of a data set is written down, if not in its folders."""

    split: int = 1
    """Which of the official splits, 1 to 3; of Diving48, 1 (first labels) or 2 (corrected)."""
    folder: Path | None = None
    """Official lists of UCF101 (trainlist01.txt …), HMDB51 (wave_test_split1.txt …) or Diving48
    (Diving48_train.json …)."""
    train: Path | None = None
    """List of training videos, one relative path per line, perhaps with a class number."""
    test: Path | None = None
    classes: Path | None = None
    """Class names, one per line, for lists that number their classes from 0."""


def find_videos(
    source: str | Path, lists: Lists = Lists(), root: Root | None = None
) -> list[Video]:
    """Find the videos of any DATA, in an order that depends on names only.

    Args:
        source: A manifest (.jsonl), a table (.csv), a list (.txt), one video, or a folder.
        lists: Split lists that go with a folder.
        root: What all files must lie in. Without it, neither relative paths nor links may lead
            out of the folder of DATA; absolute paths in lists and manifests may.

    Raises:
        UsageError: DATA or a list is not there, or nothing in it is a video.
        DamagedFileError: A manifest or list cannot be understood, or leads out of bounds.
    """
    if "://" in str(source):
        raise UsageError(f"{source} is a URL", hint="download it and name the folder")
    place = Path(os.path.abspath(source))
    if not place.exists():
        raise UsageError(f"DATA {source} does not exist")
    if not place.is_dir() and not place.is_file():
        raise UsageError(f"DATA {source} is neither a file nor a folder, but a pipe or the like")
    if place.is_dir() and is_packed_set(place):
        _refuse_all(f"the packed set {place}", lists)
        videos = read_set(place, root)
    elif place.is_dir():
        bounds = root or Root(place)
        videos = _bounded(_from_folder(place, lists, bounds), place, bounds, every=bool(root))
    elif place.suffix.lower() == ".jsonl":
        _refuse_all(str(place), lists)
        videos = read_manifest(place, root)
    elif root is None and place.suffix.lower() not in (".csv", ".txt"):
        videos = _from_file(place, lists)  # whoever names a link to a video means it
    else:
        bounds = root or Root(place.parent)
        videos = _bounded(_from_file(place, lists), place.parent, bounds, every=bool(root))
    if not videos:
        raise UsageError(f"DATA {source} holds no video", hint="docs/data.md says what DATA may be")
    return videos


def _bounded(videos: list[Video], folder: Path, bounds: Root, *, every: bool) -> list[Video]:
    """Refuse files out of bounds: of those that are named below a folder, or of every one."""
    below = os.path.join(folder, "")
    for place, video in enumerate(videos):
        path = video.path
        if "://" in path or "\0" in path:
            name = path.removeprefix(below)
            raise DamagedFileError(f"{name} is not the name of a file", where=str(folder))
        whole = os.path.normpath(path)
        if (every or path.startswith(below)) and not bounds.holds(whole):
            raise _out_of_bounds(path, bounds)
        if whole != path:
            videos[place] = replace(video, path=whole)
    return videos


def _out_of_bounds(path: str, bounds: Root) -> DamagedFileError:
    return DamagedFileError(
        f"leads to {os.path.realpath(path)}, out of {bounds}", where=path, hint=HINT
    )


def _from_file(source: Path, lists: Lists) -> list[Video]:
    _refuse_all(str(source), replace(lists, classes=None))
    match source.suffix.lower():
        case ".csv":
            return _from_table(source, lists)
        case ".txt":
            return _labelled(_entries(source, source.parent), lists, folders=False)
        case _:
            _refuse(source, classes=lists.classes)
            return [Video(str(source))]


def _from_folder(source: Path, lists: Lists, bounds: Root) -> list[Video]:
    if lists.train or lists.test:
        _refuse("lists of your own", split=lists.split != 1, lists=lists.folder)
        return _from_split_lists(source, lists)
    _refuse(f"the folder {source}", classes=lists.classes)
    official = lists.folder or _official_lists(source)
    if not official:
        _refuse(f"{source}, which has no official lists", split=lists.split != 1)
        return _from_tree(source, bounds)
    if (official / f"trainlist{lists.split:02}.txt").is_file():
        return _ucf101(source, official, lists.split)
    if any(official.glob(f"*_test_split{lists.split}.txt")):
        return _hmdb51(source, official, lists.split)
    if lists.split in DIVING48 and (official / f"{DIVING48[lists.split]}_train.json").is_file():
        return _diving48(source, official, DIVING48[lists.split])
    raise UsageError(
        f"{official} has no lists of split {lists.split}",
        hint="it should hold trainlist01.txt … (UCF101), wave_test_split1.txt … (HMDB51), or "
        "Diving48_train.json … (split 1) or Diving48_V2_train.json … (split 2)",
    )


def _official_lists(source: Path) -> Path | None:
    """Return the folder of the official lists of UCF101 or Diving48, where they usually lie."""
    if next(source.glob("*/v_*_g*_c*.avi"), None):
        beside = source.parent / "ucfTrainTestlist"
        return beside if beside.is_dir() else None
    for folder in (source, source.parent, source.parent / "annotations"):
        if any((folder / f"{name}_train.json").is_file() for name in DIVING48.values()):
            return folder
    return None


def _refuse_all(what: str, lists: Lists) -> None:
    """Refuse every option that says where splits are written down."""
    given = {"lists": lists.folder, "train_list": lists.train, "test_list": lists.test}
    _refuse(what, split=lists.split != 1, classes=lists.classes, **given)


def _refuse(what: object, **options: object) -> None:
    """Refuse options that would have no effect."""
    if given := [f"--{name.replace('_', '-')}" for name, value in options.items() if value]:
        official = "official splits are those of UCF101, HMDB51 and Diving48, with their lists"
        raise UsageError(
            f"{' and '.join(given)} means nothing for {what}",
            hint=official if options.get("split") else "leave it out",
        )


def _from_tree(source: Path, bounds: Root) -> list[Video]:
    """Read splits and classes off the folders: [split/][class/…]video."""
    rows = [(path.relative_to(source).parts, path) for path in _walk(source, bounds)]
    tops = {parts[0].lower() for parts, _ in rows if len(parts) > 1}
    # A class may be called `train`, so that only folders that are all splits are splits.
    splits = {SPLIT_FOLDERS[top] for top in tops} if tops <= SPLIT_FOLDERS.keys() else set()
    videos = []
    for parts, path in rows:
        split = SPLIT_FOLDERS[parts[0].lower()] if splits and len(parts) > 1 else None
        if split == "val" and "test" not in splits:
            split = "test"
        below = parts[1:] if split else parts
        label = below[0] if len(below) > 1 else None
        videos.append(Video(str(path), label, split, _group(path)))
    return videos


def _walk(folder: Path, bounds: Root) -> Iterator[Path]:
    """Yield every video below a folder by name, following links, but never around in circles."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:  # before anybody looks what is there, which may be everything
            if not bounds.holds(path := os.path.join(root, name)):
                raise _out_of_bounds(path, bounds)
        for name in sorted(files):
            if os.path.splitext(name)[1].lower() in SUFFIXES:
                yield Path(root, name)


def _group(path: Path) -> str | None:
    """Return the recording that a UCF101 clip was cut from; other names say nothing."""
    match = _UCF101.fullmatch(path.name)
    return match["group"] if match else None


def _ucf101(source: Path, lists: Path, split: int) -> list[Video]:
    """Read the official lists: `Class/v_Class_g08_c01.avi 1` or the same without a number."""
    named = [
        Video(str(source / name), name.split("/")[0], part, _group(source / name))
        for part in ("train", "test")
        for line in _lines(lists / f"{part}list{split:02}.txt")
        for name in line.split()[:1]
    ]
    return _on_disk(named, lists)


def _hmdb51(source: Path, lists: Path, split: int) -> list[Video]:
    """Read the official lists, one per class: `name.avi 1`, where 1 trains, 2 tests, 0 rests."""
    named = []
    for file in sorted(lists.glob(f"*_test_split{split}.txt")):
        label = file.name.removesuffix(f"_test_split{split}.txt")
        for line in _lines(file):
            try:
                name, mark = line.rsplit(maxsplit=1)
            except ValueError:
                raise DamagedFileError(
                    f"{file}: a row is a name and a number, not {line!r}", where=str(file)
                ) from None
            if mark in ("1", "2"):  # 0 is in neither part
                recording = name.split(f"_{label}_")[0]
                part = "train" if mark == "1" else "test"
                path = str(source / label / name)
                named.append(Video(path, label, part, f"{label}/{recording}"))
    return _on_disk(named, lists)


def _diving48(source: Path, lists: Path, name: str) -> list[Video]:
    """Read the annotations: `[{"vid_name": "2x00lRzlTVQ_00000", "label": 12, …}, …]`.

    The videos are cut already, so that start_frame and end_frame have nothing more to say.
    """
    vocabulary = lists / "Diving48_vocab.json"
    classes = _json(vocabulary) if vocabulary.is_file() else None
    if classes is not None:
        if not all(isinstance(words, list) for words in classes):
            raise DamagedFileError(
                f"{vocabulary}: a class is a list of words", where=str(vocabulary)
            )
        classes = [" ".join(map(str, words)) for words in classes]
    named = []
    for part in ("train", "test"):
        file = lists / f"{name}_{part}.json"
        for row in _json(file):
            try:
                path, number = str(source / f"{row['vid_name']}.mp4"), str(int(row["label"]))
            except (KeyError, TypeError, ValueError, OverflowError):
                raise DamagedFileError(
                    f"{file}: a row has a vid_name and a label, not {row!r}", where=str(file)
                ) from None
            named.append(_named(Video(path, split=part), number, classes))
    return _on_disk(named, lists)


def _json(file: Path) -> list[Any]:
    """Read a file that holds a list."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    try:
        rows = read_json(file)
    except ValueError as error:
        raise DamagedFileError(f"{file}: is not JSON: {error}", where=str(file)) from None
    if not isinstance(rows, list):
        raise DamagedFileError(f"{file}: holds no list", where=str(file))
    return rows


def _from_split_lists(source: Path, lists: Lists) -> list[Video]:
    entries = [
        (replace(video, split=part), number)
        for part, file in (("train", lists.train), ("test", lists.test))
        if file
        for video, number in _entries(file, source)
    ]
    given = " and ".join(str(file) for file in (lists.train, lists.test) if file)
    return _on_disk(_labelled(entries, lists, folders=True), given)


def _entries(file: Path, root: Path) -> list[tuple[Video, str | None]]:
    """Read a list of `path` or `path class-number` lines; paths may contain spaces."""
    entries: list[tuple[Video, str | None]] = []
    for line in _lines(file):
        *path, last = line.rsplit(maxsplit=1)
        numbered = bool(path) and last.isdecimal()
        name = path[0] if numbered else line
        entries.append((Video(os.path.join(root, name)), last if numbered else None))
    return entries


def _labelled(
    entries: Sequence[tuple[Video, str | None]], lists: Lists, *, folders: bool
) -> list[Video]:
    """Label by the numbers if every line has one, else by folder if ``folders`` is set."""
    if all(number is not None for _, number in entries):
        names = list(_lines(lists.classes)) if lists.classes else None
        return [_named(video, str(number), names) for video, number in entries]
    _refuse("lists in which not every line has a class number", classes=lists.classes)
    if not folders:
        return [video for video, _ in entries]
    return [replace(video, label=Path(video.path).parent.name) for video, _ in entries]


def _named(video: Video, number: str, names: list[str] | None) -> Video:
    """Label a video with a class number's name, or with the number where there are no names."""
    if names is None:
        return replace(video, label=number)
    try:
        place = int(number)
    except ValueError:  # digits by the thousand
        place = len(names)
    if place >= len(names):
        raise UsageError(
            f"{video.path} is of class {number}, but there are {len(names)} class names",
            hint="classes are numbered from 0",
        )
    return replace(video, label=names[place])


def _from_table(file: Path, lists: Lists) -> list[Video]:
    """Read a CSV with a header that names path, or with columns path, label, split."""
    reader = csv.reader((line for _, line in read_lines(file, "")), skipinitialspace=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        where = f"{file}:{reader.line_num}"
        raise DamagedFileError(f"{where}: {error}", where=where) from None
    columns = ["path", "label", "split"]
    if rows and "path" in rows[0][1]:
        columns = rows.pop(0)[1]
    elif all(len(row) == 1 for _, row in rows):  # `path` or `path number` under this ending
        return _labelled(_entries(file, file.parent), lists, folders=False)
    _refuse(file, classes=lists.classes)
    return [
        _cut(f"{file}:{number}", file.parent, dict(zip(columns, row, strict=False)))
        for number, row in rows
    ]


def _cut(where: str, folder: Path, cells: dict[str, str]) -> Video:
    """Turn the cells of a table's row into a video."""
    path, split = cells.get("path"), cells.get("split") or None
    if not path:
        raise DamagedFileError(f"{where}: there is no path", where=where)
    if split not in (None, "train", "val", "test"):
        raise DamagedFileError(f"{where}: split is train, val or test, not {split!r}", where=where)
    return Video(
        os.path.join(folder, path), cells.get("label") or None, split, cells.get("group") or None
    )


def _lines(file: Path) -> Iterator[str]:
    """Yield the lines of a text file that are not blank."""
    if not file.is_file():
        raise UsageError(f"{file} is not a file")
    yield from (stripped for _, line in read_lines(file) if (stripped := line.strip()))


def _on_disk(videos: Iterable[Video], lists: object) -> list[Video]:
    """Leave out, and count, what official lists name and the folder does not have."""
    videos = list(videos)
    there = [video for video in videos if os.path.exists(video.path)]
    if not there:
        first = f", for example {videos[0].path}" if videos else ""
        raise UsageError(
            f"none of the {len(videos)} videos that {lists} names is there{first}",
            hint="DATA must be the folder that the paths in the lists start from",
        )
    if missing := len(videos) - len(there):
        say(f"{missing} of the {len(videos)} videos that {lists} names are not there")
    return there
