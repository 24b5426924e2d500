"""Videos as rows, and the manifests that keep them. Nothing here opens a video file.

A manifest is a text file of one JSON object per line and video (docs/data.md).
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import os
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    TypeAdapter,
    ValidationError,
)

from vidssl_cli.base.errors import DamagedFileError
from vidssl_cli.base.escaping import json_text
from vidssl_cli.files.confine import HINT, Root
from vidssl_cli.files.sealed_folder import check_note, write_noted
from vidssl_cli.files.untrusted_text import parse_json, read_lines

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def _name(value: object) -> str:
    """Accept a name that is not empty, or a number that stands for one.

    Unlike pydantic's own check, this lets names of files through that are not UTF-8.
    """
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("a name is a string that is not empty")
    return value


Name = Annotated[str, PlainValidator(_name)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
"""Of bytes, or of what an array counts."""
Timestamp = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
"""Frames, or pixels along a side; no file has as many."""

Rate = Annotated[float, Field(ge=1e-6, le=1e6)]
"""Per second; from a picture in eleven days on, so that no moment of a video is beyond counting."""

MOST = 50
"""Problems of a manifest that are looked for."""

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_shown = _short.repr
"""Shows what was found, however large it is."""

FlowMethod = Literal["dis", "tvl1"]
"""How optical flow is computed: dense inverse search, or TV-L1."""


@dataclass(frozen=True, slots=True)
class PackedFlow:
    """Where a packed set keeps the optical flow from each frame of a video to the next."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    offset: Number
    """First byte of it in the file of the pictures."""
    bytes: Annotated[Number, Field(gt=0)]
    """How many bytes it has."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of these bytes."""
    method: FlowMethod
    """How it was computed."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Where a packed set keeps the pictures of a video; made by `vidssl data pack`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    path: Name
    """The file that they are in, absolute once a manifest has been read."""
    offset: Number
    """First byte of this video in the file."""
    bytes: Annotated[Number, Field(gt=0)]
    """How many bytes are this video's."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of these bytes."""
    format: Literal["compact", "raw"]
    """``compact``: a JPEG for each frame; ``raw``: uint8 (T, 3, H, W)."""
    height: Count
    """Pixels of the packed pictures."""
    width: Count
    source_bytes: Number
    """Size of the video's own file when it was packed."""
    source_mtime_ns: Timestamp
    """When that file was changed last, in nanoseconds since 1970."""
    source_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of that file."""
    flow: PackedFlow | None = None
    """Where the optical flow is, if it was packed too."""


@dataclass(frozen=True, slots=True)
class Video:
    """One manifest row. Facts are None until a scan has decoded the file."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    path: Name
    """Where the file is, absolute once a manifest has been read."""
    label: Name | None = None
    """Class name."""
    split: Annotated[str, Field(pattern="^(train|val|test)$")] | None = None
    """``train``, ``val`` or ``test``."""
    group: Name | None = None
    """Videos of one group are cuts of one recording and must stay on one side of a split."""
    frames: Count | None = None
    """Frames that decode, not frames that the header declares."""
    fps: Rate | None = None
    """Frames per second."""
    width: Count | None = None
    """Pixels as shown, that is after rotation."""
    height: Count | None = None
    duration: PositiveFloat | None = None
    """Seconds."""
    declared: Count | None = None
    """Frames that the header declares."""
    bytes: Number | None = None
    """Size of the file when it was scanned; one of another size is another file."""
    timing: str | None = None
    """``steady``, ``variable``, ``out of order`` or ``missing``: what the timestamps are like."""
    keyframes: tuple[tuple[Number, Timestamp], ...] = ()
    """(frame number, seek timestamp) of seek points that were checked against a full decode."""
    packed: Packed | None = None
    """Where pictures of it are that need no decoding of the file at ``path``."""


def read_manifest(path: Path, root: Root | None = None) -> list[Video]:
    """Read a manifest; paths in it are relative to its folder.

    Keys that begin with an underscore are the user's own and are passed over.

    Args:
        path: The manifest.
        root: What all files must lie in. Without it, relative paths must not lead out of the
            manifest's folder; absolute ones are as whoever wrote them wanted them.

    Raises:
        DamagedFileError: it is not what its note says, or cannot be understood: the problems, one
            ``file:line: problem`` each, up to `MOST`.
    """
    place = _Place(os.path.abspath(path.parent), root)
    videos: list[Video] = []
    problems: list[str] = []
    check_note(path)
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            videos.append(_parse(line, place))
        except ValueError as error:
            problems.extend(f"{path}:{number}: {problem}" for problem in _told(error))
            if len(problems) >= MOST:
                break
    if problems:
        raise DamagedFileError(
            problems, where=str(path), hint="docs/data.md says what a row may hold"
        )
    return videos


def write_manifest(path: Path, videos: Sequence[Video]) -> None:
    """Write a manifest and the note of its SHA-256; paths below its folder become relative."""
    folder = os.path.abspath(path.parent)
    rows = "".join(json_text(_row(video, folder)) + "\n" for video in videos)
    write_noted(path, rows.encode())


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
        if video.packed:
            row += [video.packed.format, video.packed.height, video.packed.width]
            if video.packed.flow:
                row += [video.packed.flow.method]
        state.update(json.dumps(row).encode() + b"\n")
    return state.hexdigest()


@functools.cache
def _rows() -> TypeAdapter[Video]:
    return TypeAdapter(Video)


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
            raise ValueError(f"{key}: no file has a name like {_shown(path)}")
        whole = os.path.normpath(os.path.join(self.folder, path))
        if (self.root or not os.path.isabs(path)) and not self.own.holds(whole):
            raise ValueError(f"{key}: {path} leads out of {self.own}; {HINT}")
        return whole


def _parse(line: str, place: _Place) -> Video:
    """Check one line of a manifest."""
    row = parse_json(line)
    if isinstance(row, dict):
        row = {key: value for key, value in row.items() if not key.startswith("_")}
    video = _rows().validate_python(row)
    packed = video.packed
    if packed:
        packed = dataclasses.replace(packed, path=place.absolute("packed.path", packed.path))
    return dataclasses.replace(video, path=place.absolute("path", video.path), packed=packed)


def _told(error: ValueError) -> list[str]:
    """Put what is wrong with a row into people's words."""
    if isinstance(error, json.JSONDecodeError):
        return [f"is not JSON: {error.msg} at column {error.colno}"]
    if not isinstance(error, ValidationError):
        return [str(error)]
    return [_told_field(detail) for detail in error.errors(include_url=False)[:MOST]]


def _told_field(detail: ErrorDetails) -> str:
    key = ".".join(map(str, detail["loc"]))
    match detail["type"]:
        case "dataclass_type":
            return f'a row is an object like {{"path": "a.mp4"}}, not {_shown(detail["input"])}'
        case "missing":
            return f"{key}: is missing"
        case "unexpected_keyword_argument":
            names = [field.name for field in dataclasses.fields(Video)]
            near = difflib.get_close_matches(key, names, n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            return f"{key}: unknown key; {meant} Keys of your own begin with _"
        case "string_pattern_mismatch":
            return f"{key}: must be train, val or test, not {_shown(detail['input'])}"
        case _:
            expected = detail["msg"].removeprefix("Value error, ")
            return f"{key}: {expected}, not {_shown(detail['input'])}"


def _row(video: Video, folder: str) -> dict[str, Any]:
    """Return the facts that are known, by key."""
    row = {
        field.name: value
        for field in dataclasses.fields(video)
        if (value := getattr(video, field.name)) not in (None, ())
    }
    if video.packed:
        packed = dataclasses.asdict(video.packed) | {"path": _relative(video.packed.path, folder)}
        row["packed"] = {key: value for key, value in packed.items() if value is not None}
    return row | {"path": _relative(video.path, folder)}


def _relative(path: str, folder: str) -> str:
    """Return a path below the folder relative to it, others as they are."""
    path = os.path.abspath(path)
    below = path.startswith(os.path.join(folder, ""))
    return os.path.relpath(path, folder) if below else path
