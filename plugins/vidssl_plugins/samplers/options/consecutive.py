"""Options of `consecutive`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from vidssl_cli.contract.hooks import SamplerOptions

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


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

        return ConsecutiveSampler(self.frames, self.start)
