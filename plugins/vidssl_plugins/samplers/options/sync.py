"""Options of `sync`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.shared import Short

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class Sync(SamplerOptions):
    """Two clips of a video, the second delayed (Jenni, Meishvili, Favaro 2020, section 4).

    Both are cropped, mirrored and coloured alike. Offers the label ``delay`` of the video: class d
    is a delay of d - ``reach`` steps.
    """

    name: Literal["sync"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    reach: PositiveInt = 6
    """Largest delay, in frames of a clip, either way: 6 makes 13 classes."""
    stride: PositiveInt = 1
    """Distance in frames of the video between two frames of a clip; delays count in it."""
    short_video: Short = "skip"
    """What becomes of a video that is shorter than a clip and the largest delay: it goes on from
    its first frame, is left out, or stops the run."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.sync import SyncSampler

        return SyncSampler(self.frames, self.reach, self.stride, self.short_video)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"delay": 2 * self.reach + 1}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        delays = range(-self.reach, self.reach + 1)
        return {"delay": tuple(f"{delay:+d}" if delay else "0" for delay in delays)}
