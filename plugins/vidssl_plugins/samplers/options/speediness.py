"""Options of `speediness`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from vidssl_cli.contract.hooks import SamplerOptions, ascending
from vidssl_plugins.samplers.options.shared import ShortOrLess

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler

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

        return SpeedinessSampler(
            self.frames,
            (self.normal, self.fast),
            window=self.window,
            geometry=self.geometry,
            short_video=self.short_video,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"fast": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"fast": ("normal", "fast")}
