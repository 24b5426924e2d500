"""Options of `uniform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import SamplerOptions

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


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

        return UniformSampler(self.frames, self.stride, self.views)
