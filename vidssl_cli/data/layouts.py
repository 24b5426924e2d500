"""What DATA may be: folders, lists and the layouts of known data sets, turned into rows.

A layout says where the videos are and what they are called; nothing here opens one. docs/data.md
describes every layout.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.datasets import DIVING48, diving48, hmdb51, recording_of, ucf101
from vidssl_cli.data.lists import (
    Lists,
    label_entries,
    only_present,
    read_entries,
    read_table,
    refuse_options,
)
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.data.packed_set import is_packed_set, read_set
from vidssl_cli.files.confine import HINT, Root

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
            return read_table(source, lists)
        case ".txt":
            return label_entries(read_entries(source, source.parent), lists, folders=False)
        case _:
            refuse_options(source, classes=lists.classes)
            return [Video(str(source))]


def _from_folder(source: Path, lists: Lists, bounds: Root) -> list[Video]:
    if lists.train or lists.test:
        refuse_options("lists of your own", split=lists.split != 1, lists=lists.folder)
        return _from_split_lists(source, lists)
    refuse_options(f"the folder {source}", classes=lists.classes)
    official = lists.folder or _official_lists(source)
    if not official:
        refuse_options(f"{source}, which has no official lists", split=lists.split != 1)
        return _from_tree(source, bounds)
    if (official / f"trainlist{lists.split:02}.txt").is_file():
        return ucf101(source, official, lists.split)
    if any(official.glob(f"*_test_split{lists.split}.txt")):
        return hmdb51(source, official, lists.split)
    if lists.split in DIVING48 and (official / f"{DIVING48[lists.split]}_train.json").is_file():
        return diving48(source, official, DIVING48[lists.split])
    raise UsageError(
        f"{official} has no lists of split {lists.split}",
        hint="it should hold trainlist01.txt … (UCF101), wave_test_split1.txt … (HMDB51), or "
        "Diving48_train.json … (split 1) or Diving48_V2_train.json … (split 2)",
    )


def _official_lists(source: Path) -> Path | None:
    """Return the folder of the official lists of a known data set, where they usually lie."""
    if next(source.glob("*/v_*_g*_c*.avi"), None):
        beside = source.parent / "ucfTrainTestlist"
        return beside if beside.is_dir() else None
    hmdb51 = source.parent / "testTrainMulti_7030_splits"
    if any((hmdb51 / f"{each.name}_test_split1.txt").is_file() for each in source.iterdir()):
        return hmdb51
    for folder in (source, source.parent, source.parent / "annotations"):
        if any((folder / f"{name}_train.json").is_file() for name in DIVING48.values()):
            return folder
    return None


def _refuse_all(what: str, lists: Lists) -> None:
    """Refuse every option that says where splits are written down."""
    given = {"lists": lists.folder, "train_list": lists.train, "test_list": lists.test}
    refuse_options(what, split=lists.split != 1, classes=lists.classes, **given)


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
        videos.append(Video(str(path), label, split, recording_of(path)))
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


def _from_split_lists(source: Path, lists: Lists) -> list[Video]:
    entries = [
        (replace(video, split=part), number)
        for part, file in (("train", lists.train), ("test", lists.test))
        if file
        for video, number in read_entries(file, source)
    ]
    given = " and ".join(str(file) for file in (lists.train, lists.test) if file)
    return only_present(label_entries(entries, lists, folders=True), given)
