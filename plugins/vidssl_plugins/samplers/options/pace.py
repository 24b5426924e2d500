"""Options of `pace`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import ShortOrClamp, check_distinct

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

    Offers the label ``pace``: the rank of the clip's pace among the chosen paces, the lowest first.
    """

    name: Literal["pace"]
    paces: Annotated[tuple[PaceValue, ...], Field(min_length=1)] = tuple(map(Fraction, range(1, 5)))
    """What to draw from, each pace equally often: 1, 2, 3 are times normal speed, "1/2" repeats
    every frame, -2 runs backwards."""
    direction: Literal["forward", "random"] = "forward"
    """``random`` plays every second clip backwards, which no label shows."""
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
        check_distinct("paces", paces)
        return paces

    @model_validator(mode="after")
    def _direction_is_free(self) -> Self:
        if self.direction == "random" and min(self.paces) < 0:
            raise ValueError(
                "direction random hides the direction, so that negative paces are no classes; "
                "drop one of the two"
            )
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.pace import PaceSampler

        return PaceSampler(
            paces=self.paces,
            direction=self.direction,
            frames=self.frames,
            views=self.views,
            pair=self.pair,
            start=self.start,
            short_video=self.short_video,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"pace": len(self.paces)}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label, which are ranks by ascending pace."""
        return {"pace": tuple(f"{pace}x" for pace in sorted(self.paces))}
