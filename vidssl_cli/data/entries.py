"""Entries of lists of videos: what a line or row says of one video, and whether it fits the others.

`data.table` reads the forms with separators.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.class_names import label_by_number, read_classes
from vidssl_cli.data.lists import Lists, misfit, refuse_options, require_text
from vidssl_cli.data.walk import SUFFIXES

_ENDINGS = "|".join(re.escape(suffix) for suffix in SUFFIXES)
_VIDEO = re.compile(
    rf"(?P<quote>[\"']?)(?P<path>.*(?:{_ENDINGS}))(?P=quote)(?:\s+(?P<label>.*))?", re.IGNORECASE
)
_OTHER = re.compile(r"(?P<path>.*\S)\s+(?P<label>\d+)")
_FRAMES = re.compile(r".*\S\s+\d+\s+\d+")
_PICTURE = re.compile(r".*\.(jpe?g|png|bmp|tiff?)\b.*", re.IGNORECASE)
FRAMES = (
    "vidssl decodes videos: list the videos that the frames are from, or make videos of them, for "
    "example by `ffmpeg -i frames/%05d.jpg frames.mp4`"
)


@dataclass(frozen=True)
class Entry:
    """A video as a line of a list names it; the label may be the number of a class."""

    file: Path
    line: int
    video: Video

    @property
    def where(self) -> str:
        """The line, for messages."""
        return f"{self.file}:{self.line}"


def entry(file: Path, line: int, root: Path, path: str, facts: Mapping[str, str | None]) -> Entry:
    """Return the entry of a path below ``root``; backslashes separate folders, as on Windows.

    Args:
        file: The list.
        line: Number of its line.
        root: What the path is relative to.
        path: As the line has it.
        facts: ``label``, ``split`` and ``group``, as far as the line has them.

    Raises:
        DamagedFileError: It is a URL, has bytes that are not UTF-8 and is not there, or begins
            with ``~``.
    """
    if "://" in path:
        raise misfit(file, line, f"{path!r} is not the name of a file", "download it first")
    name = os.path.join(root, path)
    require_text(file, line, path, name=name)
    for text in facts.values():
        require_text(file, line, text or "")
    if path.startswith("~/") and not os.path.lexists(name):
        raise misfit(file, line, f"{path!r} begins with ~", "write the home folder out")
    if "\\" in path and not os.path.lexists(name):
        name = os.path.join(root, path.replace("\\", "/"))
    label, split, group = (facts.get(key) for key in ("label", "split", "group"))
    return Entry(file, line, Video(name, label, split, group))


def is_video(name: str) -> bool:
    """Tell whether a name has the ending of a video."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def is_entry(line: str, *, labelled: bool) -> bool:
    """Tell whether a line is the name of a video, with a label after it or, if it may, without."""
    match = _VIDEO.fullmatch(line)
    return match is not None and (match["label"] is not None or not labelled)


def read_lines_of(file: Path, root: Path, lines: Sequence[tuple[int, str]]) -> list[Entry]:
    """Read lines `path`, `path class-number` or `path class`; paths may contain spaces.

    Raises:
        DamagedFileError: A line does not fit the others, or they name frames.
    """
    entries = []
    for place, line in lines:
        match = _VIDEO.fullmatch(line)
        if match is None and not os.path.isfile(os.path.join(root, line)):
            match = _OTHER.fullmatch(line)
        if match is None:
            entries.append(entry(file, place, root, line, {}))
        else:
            label = " ".join((match["label"] or "").split())
            entries.append(entry(file, place, root, match["path"], {"label": label or None}))
    text = dict(lines)
    refuse_strays(entries, root)
    _refuse_frames(entries, text)
    kinds = [_kind(each.video.label) for each in entries]
    counts = Counter(kinds)
    usual = max(_KINDS, key=lambda kind: counts[kind], default="")
    for each, kind in zip(entries, kinds, strict=True):
        shown = repr(text[each.line])
        if kind == "numbers":
            hint = "a line is `path number`; several labels, or numbers of frames, are not read"
            raise misfit(file, each.line, f"{shown} ends in several numbers", hint)
        if kind != usual:
            others = f"unlike {counts[usual]} of {counted(len(lines), 'line')}"
            problem = f"{shown} {_KINDS[kind]}, {others}"
            raise misfit(file, each.line, problem, "give all one, or none")
    return with_endings(entries)


_KINDS = {
    "number": "ends in a class number",
    "name": "ends in the name of a class",
    "nothing": "has no class number",
}


def _kind(label: str | None) -> str:
    if label is None:
        return "nothing"
    words = label.split()
    if all(word.isdecimal() for word in words):
        return "number" if len(words) == 1 else "numbers"
    return "name"


def refuse_strays(entries: Sequence[Entry], root: Path) -> None:
    """Refuse comments, headers and the like among the names of videos.

    Raises:
        DamagedFileError: There is no file of that name, and it is no name like the others.
    """
    named = 2 * sum(is_video(each.video.path) for each in entries) > len(entries)
    for each in entries:
        path = os.path.relpath(each.video.path, root)
        stray = path.startswith("#") or (named and not is_video(path))
        if stray and not os.path.exists(each.video.path):
            hint = "delete the line, if it is a comment or a header"
            raise misfit(each.file, each.line, f"{path!r} is the name of no file", hint)


def _refuse_frames(entries: Sequence[Entry], lines: Mapping[int, str]) -> None:
    """Refuse lists of frames: `folder number-of-frames class-number`, or pictures.

    Raises:
        DamagedFileError: That is what most lines are.
    """
    frames = [
        each
        for each in entries
        if not is_video(each.video.path)
        and (_FRAMES.fullmatch(lines[each.line]) or _PICTURE.fullmatch(lines[each.line]))
        and not os.path.isfile(each.video.path)
    ]
    if 2 * len(frames) > len(entries):
        raise _names_frames(frames[0], lines[frames[0].line])


def _names_frames(each: Entry, what: str) -> DamagedFileError:
    return misfit(each.file, each.line, f"{what!r} names frames of a video, not a video", FRAMES)


def with_endings(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries with the endings of their files, if none of a list has the ending of a video.

    Raises:
        DamagedFileError: None of the files is there, or the first that is is a folder.
    """
    if not entries or any(is_video(each.video.path) for each in entries):
        return list(entries)
    found: dict[str, dict[str, str]] = {}
    named = []
    for each in entries:
        path = each.video.path
        if path.endswith("/") or os.path.isdir(path):
            raise _names_frames(each, path)
        if not os.path.exists(path):
            folder, name = os.path.split(path)
            if folder not in found:
                found[folder] = _by_stem(folder)
            path = os.path.join(folder, found[folder].get(name, name))
        named.append(replace(each, video=replace(each.video, path=path)))
    if not any(os.path.exists(each.video.path) for each in named):
        problem = f"{named[0].video.path} is the name of no file, and neither are the others"
        hint = "paths are relative to the folder of the list, or to DATA of --train-list"
        raise misfit(named[0].file, named[0].line, problem, hint)
    if named != list(entries):
        say(f"{named[0].file}: names are without endings; those of the files are added")
    return named


def _by_stem(folder: str) -> dict[str, str]:
    """Return the names of the videos in a folder by what is before their endings."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return {}
    return {os.path.splitext(name)[0]: name for name in names if is_video(name)}


def once(entries: Sequence[Entry]) -> list[Entry]:
    """Return one entry of each video; how many there are more is told on stderr.

    Raises:
        DamagedFileError: Two lines say different things of a video.
    """
    first: dict[str, Entry] = {}
    again = []
    for each in entries:
        before = first.setdefault(os.path.normpath(each.video.path), each)
        if before is not each:
            again.append(each)
            _compare(before, each)
    if again:
        lines = counted(len(again), "line names a video", "lines name videos")
        say(f"{again[0].where}: {lines} that another names too; each video is used once")
    return list(first.values())


def _compare(before: Entry, each: Entry) -> None:
    for key in ("label", "split", "group"):
        was, found = getattr(before.video, key), getattr(each.video, key)
        if was != found:
            problem = f"{each.video.path} has the {key} {found!r}, and {was!r} in {before.where}"
            hint = f"delete one of the lines: a video has one {key}"
            if key == "label":
                hint += ", and data with several labels of a video are not supported"
            raise misfit(each.file, each.line, problem, hint)


def label(entries: Sequence[Entry], lists: Lists, *, folders: bool = False) -> list[Video]:
    """Return the videos of entries, with classes for class numbers.

    Args:
        entries: Their labels may be class numbers.
        lists: Which class names there are.
        folders: Label by folder unless every entry has a label.

    Raises:
        UsageError: There are class names, and a label is no number.
    """
    videos = [each.video for each in entries]
    kinds = {_kind(video.label) for video in videos}
    if lists.classes:
        if kinds != {"number"}:
            refuse_options("lists in which not every line has a class number", classes=True)
        names = read_classes(lists.classes)
        return [label_by_number(video, str(video.label), names) for video in videos]
    if not folders or (kinds and "nothing" not in kinds):
        return videos
    if len(kinds) > 1:
        say("only one of the two lists has classes; classes are the videos' folders instead")
    return [replace(video, label=Path(video.path).parent.name) for video in videos]


def refuse_mixture(lists: Sequence[Sequence[Entry]]) -> None:
    """Refuse lists of which one has class numbers and another names.

    Raises:
        UsageError: It is so.
    """
    kinds = [{_kind(each.video.label) for each in entries} for entries in lists]
    if {"number"} in kinds and {"name"} in kinds:
        names = " and ".join(str(entries[0].file) for entries in lists)
        raise UsageError(
            f"one of {names} has class numbers, the other names of classes",
            hint="give both numbers, or both names",
        )
