"""Options of samplers whose clips are under temporal transformations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, field_validator

from vidssl_cli.contract.hooks import SamplerOptions, ascending
from vidssl_plugins.samplers.options.short import AnyShort, ShortOrLess

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


def _ascending(speeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(speeds)) < len(speeds):
        raise ValueError(f"the speeds {', '.join(map(str, speeds))} are not all different")
    return tuple(sorted(speeds))


Speeds = Annotated[tuple[NonNegativeInt, ...], Field(min_length=1), AfterValidator(_ascending)]
"""Speed classes; class k plays every 2^k-th frame."""


def speed_names(speeds: tuple[int, ...]) -> tuple[str, ...]:
    """Return speed classes as times normal speed: 1x, 2x, 4x."""
    return tuple(f"{2**speed}x" for speed in speeds)


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
        if len(set(types)) < len(types):
            raise ValueError(f"the types {', '.join(types)} are not all different")
        if "speed" not in types:
            raise ValueError("types must contain speed, the class that the others are told from")
        return tuple(sorted(types, key=TRANSFORM_TYPES.index))

    _ascending = field_validator("warp_steps")(ascending)

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.temporal_transforms import TemporalTransformsSampler

        return TemporalTransformsSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the two labels."""
        return {"transform": len(self.types), "speed": len(self.speeds)}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the two labels."""
        return {"transform": self.types, "speed": speed_names(self.speeds)}


class TimeEquivariant(SamplerOptions):
    """Two clips of each video; couples of videos share what lies between their two clips.

    Jenni, Jin 2021, section 3. Consecutive videos of a batch make a couple, and get one relative
    transformation: the speeds and directions of the two clips, and the shift from one start to
    the other. Where in the video that happens is up to each. Offers the labels ``speed`` (rank of
    the speed) and ``direction`` (0 forwards, 1 backwards) of each clip; ``order`` of the two (0
    the first ends before the second starts, 1 the other way round, 2 they overlap); and, for the
    contrast between couples, numbers of the ``couple`` and of its ``relation``.
    """

    name: Literal["time_equivariant"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""
    speeds: Speeds = (0, 1, 2, 3)
    """Speed classes to draw from; class k plays every 2^k-th frame."""
    backward: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a clip runs backwards."""
    equivariance: Literal["temporal", "spatial", "both", "none"] = "temporal"
    """What a couple shares: the ``temporal`` relation of its clips; the ``spatial`` one, crops and
    flips, with both clips of a video on the same frames; both; or nothing, without couples."""
    relation: Literal["natural", "balanced"] = "natural"
    """How the shift is drawn: as that between two starts anywhere in the shorter video, or so that
    before, after and overlap are equally frequent where they are possible."""
    coupling: Annotated[int, Field(ge=2)] = 2
    """Videos that share a relation; train.batch_videos must be a multiple."""
    short_video: ShortOrLess = "restrict"
    """What becomes of a video that is shorter than a clip at the fastest speed: its couple gets the
    speeds that fit, or it goes on from its first frame, is left out, or stops the run."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.time_equivariant import TimeEquivariantSampler

        return TimeEquivariantSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the labels."""
        names = {"speed": len(self.speeds), "direction": 2, "order": 3}
        if self.equivariance != "none":
            names |= {"couple": 0, "relation": 0}
        return names

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the labels that have any."""
        return {
            "speed": speed_names(self.speeds),
            "direction": ("forwards", "backwards"),
            "order": ("before", "after", "overlap"),
        }
