"""What the options of several samplers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from vidssl_cli.contract.hooks import SamplerOptions

Short = Literal["loop", "skip", "error"]
"""Go on from the first frame, leave the video out, or stop the run."""

ShortOrClamp = Literal["loop", "clamp", "skip", "error"]
"""The same, or repeat the last frame: for samplers that fit each clip into the video by itself."""

ShortOrLess = Literal["restrict", "loop", "skip", "error"]
"""The same, or use the strides and speeds that fit."""

AnyShort = Literal["restrict", "loop", "clamp", "skip", "error"]
"""All of them."""


class OneClip(SamplerOptions):
    """One clip at a constant stride, which is planned in several variants."""

    frames: Annotated[int, Field(ge=4)] = 16
    """T, frames per clip."""
    stride: PositiveInt = 1
    """Distance in frames between two frames of a clip."""
    short_video: AnyShort = "restrict"
    """What becomes of a video that is shorter than a clip: it is played at the largest stride that
    fits, goes on from its first frame, repeats its last one, is left out, or stops the run."""
    variants: Literal["all", "random"] = "all"
    """Plan every variant of the clip as a view of its own, or one at random."""


def check_distinct(what: str, values: Sequence[object]) -> None:
    """Raise ValueError if a value occurs twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"the {what} {', '.join(map(str, values))} are not all different")


def _ascending(speeds: tuple[int, ...]) -> tuple[int, ...]:
    check_distinct("speeds", speeds)
    return tuple(sorted(speeds))


Speeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_ascending)]
"""Speed classes; class k plays every 2^k-th frame."""


def speed_names(speeds: tuple[int, ...]) -> tuple[str, ...]:
    """Return speed classes as times normal speed: 1x, 2x, 4x."""
    return tuple(f"{2**speed}x" for speed in speeds)


MOST_CLIPS = 7
"""Clips that can be put in order: 7 have 5040 orders."""


def order_names(views: int) -> tuple[str, ...]:
    """Return the orders of V views by rank, each as numbers of the views from 1: 123, 132."""
    return tuple("".join(map(str, order)) for order in permutations(range(1, views + 1)))
