"""Options of `temporal_transforms`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt, field_validator

from vidssl_cli.contract.hooks import SamplerOptions, ascending
from vidssl_plugins.samplers.options.shared import AnyShort, Speeds, check_distinct, speed_names

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler

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
    speeds: Speeds = (0, 1, 2, 3)
    """Speed classes to draw from; class k plays every 2^k-th frame. A video gets only those it is
    long enough for."""
    speed_limit: Literal["exact", "released"] = "exact"
    """Frames that class k needs: (T - 1) 2^k + 1, or T 2^k as in the released code."""
    speed_scope: Literal["sample", "batch"] = "sample"
    """Whether every video draws its speed, or one speed holds for all videos of a batch."""
    turn: Literal["printed", "composed", "released"] = "printed"
    """How a periodic clip goes on after its turning point: the printed formula; the two steps that
    the text describes, which may repeat a frame at the turn; or the way it came, up to a step
    lower (released code)."""
    warp_steps: tuple[PositiveInt, PositiveInt] = (1, 8)
    """Smallest and largest distance between two frames of a warped clip."""
    short_video: AnyShort = "restrict"
    """What becomes of a video that is shorter than a clip at the fastest speed: it gets the speeds
    that fit, goes on from its first frame, repeats its last one, is left out, or stops the run."""

    @field_validator("types")
    @classmethod
    def _ordered_types(cls, types: tuple[TransformType, ...]) -> tuple[TransformType, ...]:
        check_distinct("types", types)
        if "speed" not in types:
            raise ValueError(
                "types must contain speed, the class that the others are compared with"
            )
        return tuple(sorted(types, key=TRANSFORM_TYPES.index))

    _ascending = field_validator("warp_steps")(ascending)

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.temporal_transforms import TemporalTransformsSampler

        return TemporalTransformsSampler(
            frames=self.frames,
            types=self.types,
            speeds=self.speeds,
            speed_limit=self.speed_limit,
            speed_scope=self.speed_scope,
            turn=self.turn,
            warp_steps=self.warp_steps,
            short_video=self.short_video,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the two labels."""
        return {"transform": len(self.types), "speed": len(self.speeds)}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the two labels."""
        return {"transform": self.types, "speed": speed_names(self.speeds)}
