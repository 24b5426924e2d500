"""Manifests: text files of one JSON object per line and video (docs/data.md)."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.base.escaping import json_text, shown
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import Video, row_type
from vidssl_cli.files.confine import HINT, Root
from vidssl_cli.files.sealed_folder import check_note, write_noted
from vidssl_cli.files.untrusted_text import parse_json, read_lines

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


MOST = 50
"""Problems of a manifest that are looked for."""


def read_manifest(path: Path, root: Root | None = None, *, once: bool = False) -> list[Video]:
    """Read a manifest; paths in it are relative to its folder.

    Keys that begin with an underscore are the user's own and are passed over.

    Args:
        path: The manifest.
        root: What all files must lie in. Without it, relative paths must not lead out of the
            manifest's folder; absolute ones are taken as they are.
        once: Return one row of a video that has several.

    Raises:
        DamagedFileError: it is not what its note says, or cannot be understood: the problems, one
            ``file:line: problem`` each, up to `MOST`. With ``once``, two rows of a video that
            differ in label, split or group are one.
    """
    place = _Place(os.path.abspath(path.parent), root)
    rows: dict[object, tuple[int, Video]] = {}
    again = []
    problems: list[str] = []
    check_note(path)
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            video = _parse(line, place)
            before, first = rows.setdefault(video.path if once else number, (number, video))
            _compare(before, first, video)
        except ValueError as error:
            problems.extend(f"{path}:{number}: {problem}" for problem in _messages(error))
            if len(problems) >= MOST:
                break
        else:
            again += [number] * (first is not video)
    if problems:
        raise DamagedFileError(
            problems, where=str(path), hint="docs/data.md says what a row may hold"
        )
    if again:
        found = counted(len(again), "row names a video", "rows name videos")
        say(f"{path}:{again[0]}: {found} that another names too; each video is used once")
    return [video for _, video in rows.values()]


def write_manifest(path: Path, videos: Sequence[Video]) -> None:
    """Write a manifest and the note of its SHA-256.

    Paths below its folder become relative, unless a link on the way leads out of it: readers refuse
    that.
    """
    place = _Place(os.path.abspath(path.parent), None)
    write_noted(path, "".join(_line(video, place) for video in videos).encode())


def row_writer(path: Path) -> Callable[[Video], str]:
    """Return what makes the line of a video in a manifest at ``path``."""
    place = _Place(os.path.abspath(path.parent), None)
    return lambda video: _line(video, place)


def row_reader(path: Path) -> Callable[[str], Video]:
    """Return what reads a line of a manifest at ``path``; it raises ValueError if it cannot."""
    place = _Place(os.path.abspath(path.parent), None)
    return lambda line: _parse(line, place)


def _line(video: Video, place: _Place) -> str:
    return json_text(_row(video, place)) + "\n"


def training_part(videos: Sequence[Video]) -> list[Video]:
    """Return what pre-training takes: the split ``train``, and videos without a split."""
    return [video for video in videos if video.split in (None, "train")]


def digest(videos: Sequence[Video]) -> str:
    """Return the SHA-256 of what training depends on: order, names, labels, splits and sizes.

    Where the data lies does not enter, so it may be moved or mounted elsewhere.
    """
    paths = [os.path.abspath(video.path) for video in videos]
    root = os.path.commonpath([os.path.dirname(path) for path in paths] or ["/"])
    state = hashlib.sha256()
    for path, video in zip(paths, videos, strict=True):
        facts = (video.frames, video.fps, video.width, video.height)
        row = [os.path.relpath(path, root), video.label, video.split, video.group, *facts]
        if video.times:
            row.append(str(video.times))
        if video.packed:
            row += [video.packed.format, video.packed.height, video.packed.width]
            if video.packed.flow:
                row += [video.packed.flow.method]
        state.update(json.dumps(row).encode() + b"\n")
    return state.hexdigest()


class _Place:
    """Where the paths of a manifest begin, and where they may lead."""

    def __init__(self, folder: str, root: Root | None) -> None:
        self.folder = folder
        self.root = root
        self.own = root or Root(folder)

    def absolute(self, key: str, path: str) -> str:
        """Return what a path stands for.

        Raises:
            ValueError: It stands for nothing, or for something that is out of bounds.
        """
        if "://" in path:
            raise ValueError(f"{key}: {path} is a URL; download the file and name that")
        if "\0" in path:
            raise ValueError(f"{key}: no file has a name like {shown(path)}")
        whole = os.path.normpath(os.path.join(self.folder, path))
        if (self.root or not os.path.isabs(path)) and not self.own.holds(whole):
            raise ValueError(f"{key}: {path} leads out of {self.own}; {HINT}")
        return whole

    def relative(self, path: str) -> str:
        """Return a path below the folder relative to it, others as they are."""
        path = os.path.abspath(path)
        below = path.startswith(os.path.join(self.folder, "")) and self.own.holds(path)
        return os.path.relpath(path, self.folder) if below else path


def _parse(line: str, place: _Place) -> Video:
    """Check one line of a manifest."""
    row = parse_json(line)
    if isinstance(row, dict):
        row = {key: value for key, value in row.items() if not key.startswith("_")}
    video = row_type().validate_python(row)
    packed = video.packed
    if packed:
        packed = dataclasses.replace(packed, path=place.absolute("packed.path", packed.path))
    return dataclasses.replace(video, path=place.absolute("path", video.path), packed=packed)


def _compare(before: int, first: Video, again: Video) -> None:
    """Compare two rows of a video.

    Raises:
        ValueError: They differ in what no scan finds.
    """
    for key in ("label", "split", "group"):
        was, found = getattr(first, key), getattr(again, key)
        if was != found:
            raise ValueError(f"{key}: {again.path} has {found!r}, and {was!r} in line {before}")


def _messages(error: ValueError) -> list[str]:
    """Return what is wrong with a row, a message for each problem."""
    if isinstance(error, json.JSONDecodeError):
        return [f"is not JSON: {error.msg} at column {error.colno}"]
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [_message(detail) for detail in error.errors(include_url=False)[:MOST]]


def _message(detail: ErrorDetails) -> str:
    key = ".".join(map(str, detail["loc"]))
    match detail["type"]:
        case "dataclass_type":
            return f'a row is an object like {{"path": "a.mp4"}}, not {shown(detail["input"])}'
        case "missing":
            return f"{key}: is missing"
        case "unexpected_keyword_argument":
            names = [field.name for field in dataclasses.fields(Video)]
            near = difflib.get_close_matches(key, names, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            return f"{key}: unknown key; {meant} Keys of your own begin with _"
        case "string_pattern_mismatch":
            return f"{key}: must be train, val or test, not {shown(detail['input'])}"
        case _:
            expected = detail["msg"].removeprefix("Value error, ")
            return f"{key}: {expected}, not {shown(detail['input'])}"


def _row(video: Video, place: _Place) -> dict[str, Any]:
    """Return the facts that are known, by key."""
    row = {
        field.name: value
        for field in dataclasses.fields(video)
        if (value := getattr(video, field.name)) not in (None, ())
    }
    if video.packed:
        packed = dataclasses.asdict(video.packed) | {"path": place.relative(video.packed.path)}
        row["packed"] = {key: value for key, value in packed.items() if value is not None}
    return row | {"path": place.relative(video.path)}
