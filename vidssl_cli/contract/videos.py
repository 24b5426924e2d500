"""A video as a row of a manifest: path, label, split, and the facts that a scan found.

No file is opened here; `vidssl_cli.data.manifest` reads and writes manifests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    PositiveFloat,
    TypeAdapter,
)


def _name(value: object) -> str:
    """Accept a name that is not empty, or a number as a name.

    Unlike pydantic's check of strings, this accepts names of files that are not UTF-8.
    """
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("a name is a string that is not empty")
    return value


Name = Annotated[str, PlainValidator(_name)]
Number = Annotated[int, Field(ge=0, lt=2**63)]
"""Number of bytes, or of items of an array."""
Timestamp = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
"""Number of frames, or of pixels of a side."""

SLOWEST, FASTEST = 1e-6, 1e6
Rate = Annotated[float, Field(ge=SLOWEST, le=FASTEST)]
"""Frames per second, from one in eleven days to a million."""

Seconds = Annotated[float, Field(ge=0, le=1e12)]


def _rising(times: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    if any(a[0] >= b[0] or a[1] > b[1] for a, b in pairwise(times)):
        raise ValueError("frames and seconds must rise")
    return times


Times = Annotated[tuple[tuple[Number, Seconds], ...], AfterValidator(_rising)]


Moment = tuple[float, float]
"""Start and end of a part of a video, in seconds."""

Damaged = Literal["use", "leave-out"]
"""What becomes of videos with problems: used for the frames that decode, or left out."""

FlowMethod = Literal["dis", "tvl1"]
"""How optical flow is computed: dense inverse search, or TV-L1."""


PACK_AGAIN = "the `vidssl data pack` that made the set makes it anew"
"""What to do about a damaged packed set."""


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
    mtime_ns: Timestamp | None = None
    """When it was changed last before that, in nanoseconds since 1970."""
    ends_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    """Of its first and last bytes, by which a later scan knows it again."""
    timing: str | None = None
    """``steady``, ``variable``, ``jumps``, ``out of order`` or ``missing``: what the timestamps are
    like."""
    times: Times = ()
    """(frame number, seconds) from (0, 0) to (``frames``, ``duration``), between which time runs
    evenly; empty where frame k begins at k / ``fps``."""
    track: Number | None = None
    """Which stream of the file it is, where several are video."""
    keyframes: tuple[tuple[Number, Timestamp], ...] = ()
    """(frame number, seek timestamp) of seek points that were checked against a full decode."""
    problems: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """What is missing or odd, as ``kind: how much`` (docs/data.md); the frames that decode are
    used. Empty for a file that is whole."""
    packed: Packed | None = None
    """Where pictures of it are that need no decoding of the file at ``path``."""


def problem_rows(videos: Iterable[Video]) -> list[dict[str, Any]]:
    """Return path and problems of those that have any, as documents name them."""
    return [{"path": v.path, "problems": list(v.problems)} for v in videos if v.problems]


def kind_of(problem: str) -> str:
    """Return the kind of one of `Video.problems`."""
    return problem.partition(":")[0]


@cache
def row_type() -> TypeAdapter[Video]:
    """Return what checks a row, wherever it is made or read."""
    return TypeAdapter(Video)
