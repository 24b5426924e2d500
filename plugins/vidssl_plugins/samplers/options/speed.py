"""Options of samplers whose clips differ in speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PositiveFloat,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from vidssl_cli.contract.hooks import SamplerOptions, ascending
from vidssl_plugins.samplers.options.order import order_names
from vidssl_plugins.samplers.options.short import ShortOrClamp, ShortOrLess

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


def _not_a_float(value: Any) -> Any:
    if isinstance(value, float):
        raise ValueError(f"write a pace as a whole number or as a fraction like 1/3, not {value}")
    return value


def _not_zero(pace: Fraction) -> Fraction:
    if pace == 0:
        raise ValueError("a pace of 0 shows a single frame; write 1, 1/2, -3 or the like")
    return pace


def _as_written(pace: Fraction) -> int | str:
    return pace.numerator if pace.denominator == 1 else str(pace)


PaceValue = Annotated[
    Fraction,
    BeforeValidator(_not_a_float),
    AfterValidator(_not_zero),
    PlainSerializer(_as_written),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
"""Source frames per clip frame: 3 is fast, 1/3 repeats every frame three times, -3 runs backwards.

A fraction is a pair of integers: frame numbers never pass through a float.
"""


class Pace(SamplerOptions):
    """Clips at different paces (Wang, thesis 2020, chapter 4; Wang, Jiao, Liu 2020).

    Offers the label ``pace``: the rank of the clip's pace among the chosen paces.
    """

    name: Literal["pace"]
    paces: Annotated[tuple[PaceValue, ...], Field(min_length=1)] = tuple(map(Fraction, range(1, 5)))
    """What to draw from, each pace equally often: 1, 2, 3 are times normal speed, "1/2" repeats
    every frame, -2 runs backwards."""
    direction: Literal["forward", "random"] = "forward"
    """``random`` turns every second clip around, which the label does not tell."""
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    views: Literal[1, 2] = 1
    """V, clips per video; contrast between clips of a video needs 2."""
    pair: Literal["independent", "same"] = "independent"
    """Whether both clips of a video draw a pace of their own, or share one."""
    start: Literal["fits", "anywhere"] = "fits"
    """``fits`` starts a clip so that it ends inside the video, where that is possible (thesis);
    ``anywhere`` starts it at any frame (released code). A clip that reaches the end goes on from
    the first frame."""
    short_video: ShortOrClamp = "loop"
    """What becomes of a video that is shorter than a clip at the fastest pace: it goes on from its
    first frame, repeats its last one, is left out, or stops the run."""

    @field_validator("paces")
    @classmethod
    def _distinct(cls, paces: tuple[Fraction, ...]) -> tuple[Fraction, ...]:
        if len(set(paces)) < len(paces):
            raise ValueError(f"the paces {', '.join(map(str, paces))} are not all different")
        return paces

    @model_validator(mode="after")
    def _direction_is_free(self) -> Self:
        if self.direction == "random" and min(self.paces) < 0:
            raise ValueError(
                "direction random hides the direction, so that negative paces cannot be told; "
                "drop one of the two"
            )
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.pace import PaceSampler

        return PaceSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"pace": len(self.paces)}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"pace": tuple(f"{pace}x" for pace in self.paces)}


MOST_CLIPS = 7
"""Clips that can be put in order: 7 have 5040 orders."""


def signed_speeds(clips: int) -> tuple[int, ...]:
    """Return the speeds of n clips in ascending order (Cho et al. 2020, equation 1).

    Two clips play at -3 and 3; an odd number at 1, ±3, ±5, …; an even number also at -1.
    """
    if clips == 2:
        return (-3, 3)
    pairs = (clips - 1) // 2
    fast = [sign * (2 * i + 1) for i in range(1, pairs + 1) for sign in (-1, 1)]
    return tuple(sorted([1, *fast] if clips % 2 else [-1, 1, *fast]))


class PlaybackSpeed(SamplerOptions):
    """Clips of one video at several signed speeds (Cho, Kim, Chang, Hwang 2020, section 3.1).

    The views are in ascending order of speed. Offers the label ``permutation``: an order drawn at
    random to show them in, as its rank among all orders.
    """

    name: Literal["playback_speed"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    speeds: (
        Annotated[int, Field(ge=2, le=MOST_CLIPS)]
        | Annotated[tuple[int, ...], Field(min_length=2, max_length=MOST_CLIPS)]
    ) = 5
    """Source frames per clip frame, -3 for playing every third frame backwards; or a number n of
    clips for the n speeds of equation (1): [-3, 1, 3] for 3, [-5, -3, 1, 3, 5] for 5."""
    short_video: ShortOrClamp = "skip"
    """What becomes of a video that is shorter than a clip at the fastest speed: it goes on from its
    first frame, repeats its last one, is left out, or stops the run."""

    @field_validator("speeds")
    @classmethod
    def _ascending(cls, speeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(speeds, int):
            return speeds
        if 0 in speeds:
            raise ValueError("a speed of 0 shows a single frame")
        if len(set(speeds)) < len(speeds):
            raise ValueError(f"the speeds {', '.join(map(str, speeds))} are not all different")
        return tuple(sorted(speeds))

    @property
    def signed(self) -> tuple[int, ...]:
        """The speed of every view."""
        return signed_speeds(self.speeds) if isinstance(self.speeds, int) else self.speeds

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.playback_speed import PlaybackSpeedSampler

        return PlaybackSpeedSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"permutation": math.factorial(len(self.signed))}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"permutation": order_names(len(self.signed))}


Rates = tuple[Annotated[float, Field(ge=1)], PositiveFloat]
"""Smallest and largest rate, 1 for normal speed."""


class Speediness(SamplerOptions):
    """A clip at about normal speed and one at about double speed (SpeedNet, Benaim et al. 2020).

    Frames of one window are dropped at random, so that T of those left are a clip at a drawn mean
    rate. Offers the label ``fast``: 0 for the first view, at normal speed, 1 for the second.
    """

    name: Literal["speediness"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    normal: Rates = (1.0, 1.2)
    """Range of the mean rate of clips at normal speed."""
    fast: Rates = (1.7, 2.2)
    """Range of the mean rate of fast clips."""
    window: Annotated[float, Field(gt=1)] = 3
    """Length of the window that a clip is drawn from, in clips."""
    geometry: Literal["shared", "own"] = "shared"
    """Whether both clips are cropped and mirrored alike."""
    short_video: ShortOrLess = "restrict"
    """What becomes of a video that is shorter than the window: its window is as long as the video,
    if that is long enough for the highest rate; or it goes on from its first frame, is left out, or
    stops the run."""

    _ascending = field_validator("normal", "fast")(ascending)

    @model_validator(mode="after")
    def _rates_fit(self) -> Self:
        highest = max(self.normal[1], self.fast[1])
        if highest > self.window:
            raise ValueError(f"a rate of {highest:g} needs a window of as many clips")
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.speediness import SpeedinessSampler

        return SpeedinessSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"fast": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"fast": ("normal", "fast")}
