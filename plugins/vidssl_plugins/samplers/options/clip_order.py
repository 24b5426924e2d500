"""Options of `clip_order`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import MOST_CLIPS, Short, order_names

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class ClipOrder(SamplerOptions):
    """Clips that follow one another (clip order prediction, VCOP, Xu et al. 2019).

    The views are in the order of time. Offers the label ``permutation``: an order drawn at random
    to show them in, as its rank among all orders.
    """

    name: Literal["clip_order"]
    clips: Annotated[int, Field(ge=2, le=MOST_CLIPS)] = 3
    """V, clips per video."""
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    stride: PositiveInt = 1
    """Distance in frames between two frames of a clip."""
    gap: NonNegativeInt = 8
    """Frames between the end of a clip and the beginning of the next."""
    short_video: Short = "skip"
    """What becomes of a video that is shorter than all clips with their gaps: it goes on from its
    first frame, is left out, or stops the run."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.clip_order import ClipOrderSampler

        return ClipOrderSampler(self.clips, self.frames, self.stride, self.gap, self.short_video)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"permutation": math.factorial(self.clips)}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"permutation": order_names(self.clips)}
