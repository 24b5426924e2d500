"""What the address of the search page asks for; the same words are the query of `/api/search`.

video=/folder/clip.mp4     a video of the index, or upload:KEY
item=12                    a video of the index by its number
from=3.2  to=5             a moment of it, in seconds
level=moment               or video, clip; by default as `vidssl retrieve`
own=1                      the video itself can be a hit
one=label                  one hit of each label, or of each video
label=x  folder=/a  name=text  shortest=2  longest=10  where=SQL
                           only videos of which all this is true; ``label`` may be repeated
copies=1                   without a video: groups of copies instead of all videos
lasso=0.1,0.2;0.3,0.2;…    only videos inside this polygon on the map
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.search.retrieve import SEARCHES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Moment
    from vidssl_cli.search.retrieve import GroupName, SearchName

UPLOAD = "upload:"
"""What the name of a dropped video begins with; paths begin with a slash."""
_FIELDS, _CORNERS = 200, 500
"""Words of an address, and corners of a polygon, at most."""


@dataclass(frozen=True)
class Asked:
    """A search, as the address has it."""

    video: str | None
    item: int | None
    moment: Moment | None
    level: SearchName | None
    group_by: GroupName | None
    own: bool
    copies: bool
    where: str | None
    """All filters as one SQL expression; see `vidssl_cli.search.where`."""
    polygon: NDArray[np.float64] | None
    """(corners, 2) on the map."""
    offset: int
    count: int
    at: float
    """Seconds at which a picture or a part is wanted."""


def read_asked(query: bytes) -> Asked:
    """Read the query of an address.

    Raises:
        UsageError: It has a value that cannot be read.
    """
    try:
        # Names of files may be no UTF-8; such bytes are kept as Python keeps them in paths.
        pairs = parse_qsl(query.decode("latin-1"), errors="surrogateescape", max_num_fields=_FIELDS)
    except ValueError as error:
        raise UsageError(f"the address cannot be read: {error}") from None
    values = dict(pairs)

    def number(name: str, otherwise: float) -> float:
        text = values.get(name, "")
        if not text:
            return otherwise
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not 0 <= found < 1e9:
            raise UsageError(f"{name}={text!r} is no number from 0 on")
        return found

    def one_of(name: str, known: tuple[str, ...]) -> str | None:
        text = values.get(name)
        if text is not None and text not in known:
            raise UsageError(f"{name}={text!r} is none of {', '.join(known)}")
        return text

    start, end = number("from", 0), number("to", 0)
    if "to" in values and end <= start:
        raise UsageError(f"the moment ends at {end:g} s, before it starts")
    labels = [value for name, value in pairs if name == "label"]
    return Asked(
        video=values.get("video"),
        item=int(number("item", 0)) if "item" in values else None,
        moment=(start, end) if "to" in values else None,
        level=one_of("level", SEARCHES),  # type: ignore[arg-type]
        group_by=one_of("one", ("video", "label")),  # type: ignore[arg-type]
        own=values.get("own") == "1",
        copies=values.get("copies") == "1",
        where=_expression(values, labels, number("shortest", 0), number("longest", 0)),
        polygon=_polygon(values["lasso"]) if "lasso" in values else None,
        offset=int(number("offset", 0)),
        count=min(200, int(number("count", 48))),
        at=number("at", 0),
    )


def _expression(
    values: dict[str, str], labels: list[str], shortest: float, longest: float
) -> str | None:
    parts = []
    if labels:
        parts.append(f"label IN ({', '.join(map(_quoted, labels))})")
    if folder := values.get("folder"):
        inside = f"{folder.rstrip('/')}/"
        parts.append(f"substr(path, 1, {len(_utf8(inside))}) = {_quoted(inside)}")
    if name := values.get("name"):
        parts.append(f"instr(lower(path), lower({_quoted(name)})) > 0")
    if shortest:
        parts.append(f"duration >= {shortest:g}")
    if longest:
        parts.append(f"duration <= {longest:g}")
    if where := values.get("where"):
        parts.append(f"({where}\n)" if parts else where)  # the line break ends a comment
    return " AND ".join(parts) or None


def _quoted(text: str) -> str:
    return "'" + _utf8(text).replace("'", "''") + "'"


def _utf8(text: str) -> str:
    """Return text as the facts of an index have it, which are UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _polygon(text: str) -> NDArray[np.float64]:
    try:
        corners = np.array([corner.split(",") for corner in text.split(";")], np.float64)
        if corners.shape[1:] != (2,) or not 3 <= len(corners) <= _CORNERS:
            raise ValueError
        if not np.isfinite(corners).all():
            raise ValueError
    except ValueError:
        raise UsageError(
            f"lasso={text[:40]!r} is no polygon of 3 to {_CORNERS} corners x,y;x,y;…"
        ) from None
    return corners
