"""Options of samplers whose clips play at one constant stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_plugins.samplers.options.short import AnyShort

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

        return UniformSampler(self)


class OneClip(SamplerOptions):
    """One clip at a constant stride, which is planned in several variants."""

    frames: Annotated[int, Field(ge=4)] = 16
    """T, frames per clip."""
    stride: PositiveInt = 1
    """Distance in frames between two frames of a clip."""
    short_video: AnyShort = "restrict"
    """What becomes of a video that is shorter than a clip: it is played at the largest stride that
    fits, goes on from its first frame, repeats its last one, is left out, or stops the run."""
    variants: Literal["all", "random"] = "all"
    """Plan every variant of the clip as a view of its own, or one at random."""


class Rotation(OneClip):
    """Clips turned by 0, 90, 180 and 270 degrees (3D-RotNet, Jing, Tian 2018).

    Offers the label ``rotation``: the quarter turns, counter-clockwise.
    """

    name: Literal["rotation"]

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.rotation import RotationSampler

        return RotationSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"rotation": 4}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"rotation": ("0°", "90°", "180°", "270°")}


class ArrowOfTime(OneClip):
    """Clips played forwards and backwards (arrow of time, Wei et al. 2018).

    Offers the label ``direction``: 0 forwards, 1 backwards.
    """

    name: Literal["arrow_of_time"]

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.arrow_of_time import ArrowOfTimeSampler

        return ArrowOfTimeSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"direction": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"direction": ("forwards", "backwards")}


class ShuffleAndLearn(OneClip):
    """Clips in order, and with their middle shuffled (shuffle and learn, Misra et al. 2016).

    Misra et al. tell three frames in order from three whose middle one lies outside the other two.
    Jenni, Meishvili, Favaro 2020 carry that over to clips without saying how. Here a clip in order
    and a shuffled one have their first and last frames in common, as Misra's triples have; the
    frames between them are permuted. Misra et al. choose windows that move much; here they may lie
    anywhere.

    Offers the label ``shuffled``: 0 in order, 1 shuffled.
    """

    name: Literal["shuffle_and_learn"]
    kept: PositiveInt = 4
    """Frames at either end of a shuffled clip that stay in their places."""

    @model_validator(mode="after")
    def _leaves_a_middle(self) -> Self:
        if self.frames - 2 * self.kept < 2:
            raise ValueError(
                f"keeping {self.kept} frames at either end of {self.frames} leaves none to shuffle"
            )
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.shuffle_and_learn import ShuffleAndLearnSampler

        return ShuffleAndLearnSampler(self)

    def labels(self) -> Mapping[str, int]:
        """Name the one label."""
        return {"shuffled": 2}

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the label."""
        return {"shuffled": ("in order", "shuffled")}
