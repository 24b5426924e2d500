"""Finds the videos of DATA, with their labels, splits and groups: docs/data.md.

DATA is a folder, a list, a table, a manifest, a packed set, or one video. No video is opened here.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import is_normalized, normalize

from vidssl_cli.base.console import leave_out, warn
from vidssl_cli.base.errors import DamagedFileError, MediaError, UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import entries as listed
from vidssl_cli.data.datasets import find_lists, meant, read_official, recording_of
from vidssl_cli.data.hold_out import hold_out
from vidssl_cli.data.kinetics import is_kinetics, read_kinetics
from vidssl_cli.data.lists import (
    SPLITS,
    Lists,
    misfit,
    only_present,
    refuse_options,
)
from vidssl_cli.data.manifest import read_manifest
from vidssl_cli.data.packed_set import is_packed_set, read_set
from vidssl_cli.data.table import open_table, read_entries
from vidssl_cli.data.walk import Walk
from vidssl_cli.files.confine import Root, out_of_bounds


@dataclass
class LeftOut:
    """What is part of DATA and missing from what `find_videos` returns."""

    folders: list[MediaError] = field(default_factory=list)
    """Folders that cannot be read, and why."""
    absent: list[Video] = field(default_factory=list)
    """Videos that lists of a folder name, and that are not there."""
    others: Counter[str] = field(default_factory=Counter)
    """Files of a folder that do not have the ending of a video, by ending."""


def find_videos(
    source: str | Path,
    lists: Lists = Lists(),
    root: Root | None = None,
    left_out: LeftOut | None = None,
) -> list[Video]:
    """Find the videos of any DATA, in an order that depends on names only.

    Args:
        source: A manifest (.jsonl), a table (.csv), a list (.txt), one video, or a folder.
        lists: Split lists that go with a folder.
        root: All files must be in it, or in ``source`` if that is a folder, or be ``source``.
            Without it, relative paths in lists and manifests must not lead out of their folder;
            absolute paths, and links in the folder ``source``, may lead anywhere.
        left_out: Receives what is missing, which is told on stderr.

    Raises:
        UsageError: DATA or a list does not exist, or there is no video in it.
        DamagedFileError: A manifest or list cannot be understood, or leads out of bounds.
    """
    if "://" in str(source):
        raise UsageError(f"{source} is a URL", hint="download it and name the folder")
    place = Path(os.path.abspath(source))
    if not place.exists():
        raise UsageError(f"DATA {source} does not exist")
    if not place.is_dir() and not place.is_file():
        raise UsageError(f"DATA {source} is neither a file nor a folder, but a pipe or the like")
    gone = LeftOut() if left_out is None else left_out
    suffix = place.suffix.lower()
    if place.is_dir() and is_packed_set(place):
        _refuse_all(f"the packed set {place}", lists)
        videos = read_set(place, root and root.widened(place))
    elif place.is_dir():
        _require_readable(place)
        bounds = root and root.widened(place)
        videos = _in_folder(_from_folder(place, lists, bounds, gone), place, bounds)
    elif suffix == ".jsonl":
        _refuse_all(str(place), lists)
        videos = read_manifest(place, root, once=True)
    elif suffix in (".csv", ".txt"):
        videos = _in_list(_from_file(place, lists, root, gone), place.parent, root)
    else:
        videos = _one_video(place, lists)
    for error in gone.folders:
        leave_out(error)
    if not videos:
        raise UsageError(
            f"DATA {source} holds no video" + (" that can be read" if gone.folders else ""),
            hint="the warnings above say why"
            if gone.folders
            else "docs/data.md says what DATA may be",
        )
    videos = [_with_usual_label(video) for video in videos]
    return hold_out(videos, lists.hold_out) if lists.hold_out else videos


def _with_usual_label(video: Video) -> Video:
    """Return a video with its label in Unicode's NFC; macOS writes names of folders in NFD."""
    if video.label is None or is_normalized("NFC", video.label):
        return video
    return replace(video, label=normalize("NFC", video.label))


def _require_readable(folder: Path) -> None:
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise UsageError(f"DATA {folder} cannot be read: {error.strerror}") from None


def _in_list(videos: list[Video], folder: Path, root: Root | None) -> list[Video]:
    """Return the videos of a list with normal paths.

    Raises:
        DamagedFileError: With a root a path leads out of it; without, a relative path out of the
            folder of the list.
    """
    below, bounds = os.path.join(folder, ""), root or Root(folder)
    tidied = []
    for video in videos:
        whole = _whole(video.path, folder)
        if (root or video.path.startswith(below)) and not bounds.holds(whole):
            raise out_of_bounds(video.path, bounds)
        tidied.append(replace(video, path=whole))
    return tidied


def _in_folder(videos: list[Video], folder: Path, bounds: Root | None) -> list[Video]:
    """Return the videos of a folder with normal paths.

    Raises:
        DamagedFileError: A path of a list leads out of the bounds, or without bounds by ``..`` out
            of the folder.
    """
    below = os.path.join(folder, "")
    tidied = []
    for video in videos:
        whole = _whole(video.path, folder)
        if not (bounds.holds(whole) if bounds else whole.startswith(below)):
            raise out_of_bounds(video.path, bounds or Root(folder))
        tidied.append(replace(video, path=whole))
    return tidied


def _whole(path: str, folder: Path) -> str:
    """Return a normal path, without ``..``.

    Raises:
        DamagedFileError: No file can have such a name.
    """
    if "://" in path or "\0" in path:
        name = path.removeprefix(os.path.join(folder, ""))
        raise DamagedFileError(f"{name} is not the name of a file", where=str(folder))
    return os.path.normpath(path)


def _one_video(source: Path, lists: Lists) -> list[Video]:
    if source.suffix.lower() == ".json":
        raise UsageError(
            f"DATA {source} is no video",
            hint="if it is a list of a data set, give the folder of videos as DATA and --lists DIR",
        )
    _refuse_all(str(source), lists)
    return [Video(str(source))]


def _from_file(source: Path, lists: Lists, root: Root | None, gone: LeftOut) -> list[Video]:
    _refuse_all(str(source), replace(lists, classes=None))
    table = open_table(source)
    if is_kinetics(table):
        refuse_options(source, classes=lists.classes)
        walk = Walk(source.parent, root or Root(source.parent), gone.folders, gone.others)
        return only_present(read_kinetics([source], walk), source, gone.absent)
    return listed.label(listed.once(read_entries(table, source.parent)), lists)


def _from_folder(source: Path, lists: Lists, bounds: Root | None, gone: LeftOut) -> list[Video]:
    if lists.train or lists.test:
        refuse_options("lists of your own", split=lists.split != 1, lists=lists.folder)
        return _from_split_lists(source, lists, gone)
    refuse_options(f"the folder {source}", classes=lists.classes)
    walk = Walk(source, bounds, gone.folders, gone.others)
    if official := lists.folder or find_lists(source):
        try:
            named = read_official(walk, official, lists.split)
            return only_present(named, official, gone.absent)
        except UsageError as error:
            if question := meant(source):
                raise UsageError(str(error), hint=question) from None
            raise
    refuse_options(f"{source}, which has no official lists", split=lists.split != 1)
    return _from_tree(walk)


def _refuse_all(what: str, lists: Lists) -> None:
    """Refuse every option about splits and classes."""
    given = {"lists": lists.folder, "train_list": lists.train, "test_list": lists.test}
    refuse_options(what, split=lists.split != 1, classes=lists.classes, **given)


def _from_tree(walk: Walk) -> list[Video]:
    """Return the videos of a folder; paths are ``[split/][class/…]video``."""
    rows = [(path.relative_to(walk.folder).parts, path) for path in walk.videos()]
    tops = {parts[0] for parts, _ in rows if len(parts) > 1}
    if tops and (question := meant(walk.folder)):
        if len(tops) == 1:
            raise UsageError(f"{walk.folder} holds one folder of videos", hint=question)
        warn(f"the {len(tops)} folders in {walk.folder} are taken for classes; it {question}")
    _refuse_parent(walk.folder, tops, {parts[1].lower() for parts, _ in rows if len(parts) > 2})
    named = {SPLITS[top.lower()] for top in tops if top.lower() in SPLITS}
    others = sorted(top for top in tops if top.lower() not in SPLITS)
    # A class may be called `train`, so that only folders that are all splits are splits.
    splits = set() if others else named
    if others and len(named) > 1:
        warn(
            f"{walk.folder}: the folders {' and '.join(sorted(tops - {*others}))} are taken for "
            f"classes, because {others[0]} is beside them; if they are splits, move it elsewhere"
        )
    if splits and (loose := sum(len(parts) == 1 for parts, _ in rows)):
        warn(
            f"{walk.folder}: {counted(loose, 'video lies', 'videos lie')} next to the folders "
            f"{' and '.join(sorted(tops))}, with no split and no label; pre-training takes such "
            "videos"
        )
    videos = []
    for parts, path in rows:
        split = SPLITS[parts[0].lower()] if splits and len(parts) > 1 else None
        if split == "val" and "test" not in splits:
            split = "test"
        below = parts[1:] if split else parts
        label = below[0] if len(below) > 1 else None
        videos.append(Video(str(path), label, split, recording_of(path)))
    return videos


def _refuse_parent(folder: Path, tops: set[str], inner: set[str]) -> None:
    """Warn that all videos get one label because they are in one folder, in folders of their own.

    Raises:
        UsageError: These folders are splits.
    """
    if len(tops) != 1 or not inner or (top := min(tops)).lower() in SPLITS:
        return
    question = f"did you mean {folder / top}?"
    if inner <= {*SPLITS}:
        raise UsageError(f"{folder} holds one folder of videos, with splits in it", hint=question)
    if len(inner) > 1:
        warn(
            f"{folder} holds one folder, so that all videos in it have the class {top}; {question}"
        )


def _from_split_lists(source: Path, lists: Lists, gone: LeftOut) -> list[Video]:
    files = {part: file for part, file in (("train", lists.train), ("test", lists.test)) if file}
    parts = [_part(file, source, part) for part, file in files.items()]
    listed.refuse_mixture(parts)
    entries = listed.once([entry for part in parts for entry in part])
    given = " and ".join(map(str, files.values()))
    return only_present(listed.label(entries, lists, folders=True), given, gone.absent)


def _part(file: Path, source: Path, split: str) -> list[listed.Entry]:
    """Return the entries of the list of a split."""
    entries = read_entries(open_table(file), source)
    for entry in entries:
        if entry.video.split not in (None, split):
            problem = (
                f"is in the split {entry.video.split}, and the list is given as that of {split}"
            )
            hint = "give a table with splits as DATA, without other lists"
            raise misfit(file, entry.line, problem, hint)
    return [replace(entry, video=replace(entry.video, split=split)) for entry in entries]
