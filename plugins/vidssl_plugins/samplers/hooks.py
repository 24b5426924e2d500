"""The menu of samplers: which clips are cut from a video, and the labels that come for free."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from vidssl_cli.hooks import SamplerOptions, hookimpl
from vidssl_plugins.samplers.options.curriculum import Curriculum
from vidssl_plugins.samplers.options.sstl import SSTL

if TYPE_CHECKING:
    from vidssl_cli.clips import Sampler


class Uniform(SamplerOptions):
    """Windows at a constant stride from anywhere in the video; for training with labels.

    A video shorter than a clip is played at the largest stride that fits; if even 1 is too much,
    its last frame is repeated.
    """

    name: Literal["uniform"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    stride: PositiveInt = 1
    """Distance in frames between two frames of a clip."""
    views: PositiveInt = 1
    """V, clips per video, each drawn by itself."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.uniform import UniformSampler

        return UniformSampler(self)


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
    short_video: Literal["loop", "skip"] = "loop"
    """What becomes of a video that is shorter than a clip at the fastest pace."""

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


TransformType = Literal["speed", "random", "periodic", "warp"]
TRANSFORM_TYPES: tuple[TransformType, ...] = ("speed", "random", "periodic", "warp")
"""In the order of their labels (Jenni et al. 2020, section 3.1)."""


class TemporalTransforms(SamplerOptions):
    """One clip of each temporal transformation (Jenni, Meishvili, Favaro 2020, section 3).

    Offers the labels ``transform``, the rank of the clip's type among the chosen types, and
    ``speed``, the rank of the playback speed, on the clips that have one: speed and periodic.
    """

    name: Literal["temporal_transforms"]
    frames: Annotated[int, Field(ge=8)] = 16
    """T, frames per clip."""
    types: tuple[TransformType, ...] = TRANSFORM_TYPES
    """``speed`` plays at a constant speed, ``random`` shuffles, ``periodic`` turns around, ``warp``
    changes speed from frame to frame."""
    speeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0, 1, 2, 3)
    """Speed classes to draw from; class k plays every 2^k-th frame. A video gets only those it is
    long enough for."""
    speed_limit: Literal["exact", "released"] = "exact"
    """Frames that class k needs: (T - 1) 2^k + 1, or T 2^k as in the released code."""
    speed_scope: Literal["sample", "batch"] = "sample"
    """Whether every video draws its speed, or one speed holds for all videos of a batch."""
    turn: Literal["printed", "composed"] = "printed"
    """How a periodic clip goes on after its turning point: the printed formula, or the two steps
    that the text describes, which may repeat a frame at the turn."""
    warp_steps: tuple[PositiveInt, PositiveInt] = (1, 8)
    """Smallest and largest distance between two frames of a warped clip."""

    @field_validator("types")
    @classmethod
    def _ordered_types(cls, types: tuple[TransformType, ...]) -> tuple[TransformType, ...]:
        if len(set(types)) < len(types):
            raise ValueError(f"the types {', '.join(types)} are not all different")
        if "speed" not in types:
            raise ValueError("types must contain speed, the class that the others are told from")
        return tuple(sorted(types, key=TRANSFORM_TYPES.index))

    @field_validator("speeds")
    @classmethod
    def _ordered_speeds(cls, speeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(speeds)) < len(speeds):
            raise ValueError(f"the speeds {', '.join(map(str, speeds))} are not all different")
        return tuple(sorted(speeds))

    @field_validator("warp_steps")
    @classmethod
    def _ordered_steps(cls, steps: tuple[int, int]) -> tuple[int, int]:
        if steps[0] > steps[1]:
            raise ValueError(f"the smallest step {steps[0]} is above the largest, {steps[1]}")
        return steps

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.temporal_transforms import TemporalTransformsSampler

        return TemporalTransformsSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the two labels."""
        return {"transform": len(self.types), "speed": len(self.speeds)}


class Consecutive(SamplerOptions):
    """T neighbouring frames, as clips of which optical flow is kept (Wang, thesis 2020, ch. 2, 3).

    A video shorter than a clip is left out.
    """

    name: Literal["consecutive"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    start: Literal["random", "pieces"] = "random"
    """``pieces`` cuts a video into clips that do not overlap, all of which an epoch visits (UCF101
    in the thesis); ``random`` visits a video once, at any frame."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.consecutive import ConsecutiveSampler

        return ConsecutiveSampler(self)


@hookimpl
def vidssl_samplers() -> list[type[SamplerOptions]]:
    """Offer the built-in samplers."""
    return [Uniform, Consecutive, Curriculum, Pace, TemporalTransforms, SSTL]
