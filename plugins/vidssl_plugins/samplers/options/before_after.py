"""Options of `before_after`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import Short

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class BeforeAfter(SamplerOptions):
    """Two runs of frames of a video as the halves of a clip, in both orders.

    Jenni, Meishvili, Favaro 2020, section 4. Both clips are cropped, mirrored and coloured alike.
    Offers the label ``order``: 0 where the earlier half comes first, 1 where it comes after.
    """

    name: Literal["before_after"]
    frames: Annotated[int, Field(ge=2, multiple_of=2)] = 16
    """T, frames per clip: an even number."""
    short_video: Short = "skip"
    """What becomes of a video that is shorter than a clip: it goes on from its first frame, is left
    out, or stops the run."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.before_after import BeforeAfterSampler

        return BeforeAfterSampler(self.frames, self.short_video)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"order": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"order": ("before", "after")}
