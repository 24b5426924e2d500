"""Options of `playback_speed`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import (
    MOST_CLIPS,
    ShortOrClamp,
    check_distinct,
    order_names,
)

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


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
    short_video: ShortOrClamp = "loop"
    """What becomes of a video that is shorter than a clip at the fastest speed: it goes on from its
    first frame, repeats its last one, is left out, or stops the run. The paper, which leaves out no
    video, does not say."""

    @field_validator("speeds")
    @classmethod
    def _ascending(cls, speeds: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(speeds, int):
            return speeds
        if 0 in speeds:
            raise ValueError("a speed of 0 shows a single frame")
        check_distinct("speeds", speeds)
        return tuple(sorted(speeds))

    @property
    def signed(self) -> tuple[int, ...]:
        """The speed of every view."""
        return signed_speeds(self.speeds) if isinstance(self.speeds, int) else self.speeds

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.playback_speed import PlaybackSpeedSampler

        return PlaybackSpeedSampler(self.frames, self.signed, self.short_video)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"permutation": math.factorial(len(self.signed))}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"permutation": order_names(len(self.signed))}
