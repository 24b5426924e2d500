"""Options of `sstl`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, field_validator, model_validator

from vidssl_cli.contract.hooks import SamplerOptions, ascending
from vidssl_plugins.samplers.options.shared import Short

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class SSTL(SamplerOptions):
    """Two clips from one base clip, both with frames missing (SSTL, ICLR 2021 submission, 3.1).

    A base clip is ``frames + buffer`` consecutive frames. From each view some are dropped at random
    to play it faster, then some at a distance from one another, then it is cut to ``frames``.
    Offers the labels ``rate``, the playback rate of each clip, and ``position``, where the middle
    of the base clip lies in the video, from 0 to 1.
    """

    name: Literal["sstl"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    buffer: NonNegativeInt = 12
    """e, frames by which the base clip is longer than a clip."""
    dropout: NonNegativeInt = 4
    """d, frames that temporal dropout takes out, no two of them adjacent."""
    rate: tuple[Annotated[float, Field(ge=1)], Annotated[float, Field(ge=1)]] = (1.0, 1.25)
    """Smallest and largest playback rate; at rate p a frame is dropped with probability
    1 - 1/p."""
    max_drop: NonNegativeInt | None = None
    """Most frames that rate distortion drops; none for as many as the buffer can spare, e - d."""
    rate_target: Literal["drawn", "realised"] = "drawn"
    """The rate that is the label: what was drawn, or length of the base clip over what rate
    distortion left of it."""
    spatial_share: Literal["clip", "video"] = "clip"
    """Whether crop, flip and colour are drawn for each clip, or once for both."""
    short_video: Short = "loop"
    """What becomes of a video that is shorter than a base clip: it goes on from its first frame, is
    left out, or stops the run."""

    _ascending = field_validator("rate")(ascending)

    @model_validator(mode="after")
    def _frames_remain(self) -> Self:
        taken = (self.max_drop or 0) + self.dropout
        if taken > self.buffer:
            raise ValueError(
                f"max_drop and dropout take up to {taken} frames, the buffer has {self.buffer}"
            )
        if self.dropout > self.frames + 1:
            raise ValueError(
                f"{self.dropout} frames that are not adjacent do not fit among {self.frames} others"
            )
        return self

    @property
    def most(self) -> int:
        """Most frames that rate distortion drops."""
        return self.buffer - self.dropout if self.max_drop is None else self.max_drop

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.sstl import SSTLSampler

        return SSTLSampler(
            frames=self.frames,
            buffer=self.buffer,
            dropout=self.dropout,
            rate=self.rate,
            max_drop=self.most,
            rate_target=self.rate_target,
            spatial_share=self.spatial_share,
            short_video=self.short_video,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the two labels, both quantities."""
        return {"rate": 0, "position": 0}
