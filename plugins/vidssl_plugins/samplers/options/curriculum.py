"""Options of consecutive clips, and of the curriculum that may order them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_cli.contract.registry import Offered

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

        return ConsecutiveSampler(self)


class Pacing(BaseModel):
    """How fast a curriculum goes on from easy clips to all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    start: Annotated[float, Field(gt=0, le=1)] = 0.125
    """Share of the clips to begin with."""


class StagedPacing(Pacing):
    """A pacing whose stages have lengths."""

    unit: Literal["epochs", "steps"] = "epochs"
    """What lengths count."""


class SinglePacing(StagedPacing):
    """A share of the clips first, then all."""

    name: Literal["single"]
    start: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the clips to begin with."""
    length: PositiveInt | None = None
    """How long the first stage is; half of the run if not given."""


class FixedExponentialPacing(StagedPacing):
    """Multiplies the share after stages of equal length."""

    name: Literal["fixed_exponential"]
    length: PositiveInt
    """How long each stage is."""
    increase: Annotated[float, Field(gt=1)] = 2
    """Factor from stage to stage."""


class VariedExponentialPacing(StagedPacing):
    """Multiplies the share after stages of given lengths."""

    name: Literal["varied_exponential"]
    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """How long each stage is but the last."""
    increase: Annotated[float, Field(gt=1)] = 2
    """Factor from stage to stage."""


class ConstantPacing(Pacing):
    """Only ever a share of the clips, to tell order from number."""

    name: Literal["constant"]
    start: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the clips."""


AnyPacing = SinglePacing | FixedExponentialPacing | VariedExponentialPacing | ConstantPacing


class Curriculum(SamplerOptions):
    """Lets another sampler begin with easy clips (Wang, thesis 2020, section 3.2).

    Easy clips have their motion in one place. `vidssl data scores` measures that.
    """

    # The schema has the models of all samplers, which are not all known yet.
    model_config = ConfigDict(defer_build=True)

    name: Literal["curriculum"]
    sampler: Annotated[SamplerOptions, Offered("sampler")]
    """Any other sampler."""
    scores: str | None = None
    """File of scores; relative to the folder that vidssl is called in."""
    order: Literal["easy", "hard", "random"] = "easy"
    """What comes first: the highest scores, the lowest, or, to compare, a random choice."""
    pacing: Annotated[AnyPacing, Field(discriminator="name")] = SinglePacing(name="single")
    """How many clips are drawn on, and when."""
    video_score: Literal["middle", "mean"] = "middle"
    """The score of a video whose clips are drawn from anywhere: that of its middle piece, or the
    mean over its pieces."""

    @field_validator("sampler")
    @classmethod
    def _one_is_enough(cls, sampler: SamplerOptions) -> SamplerOptions:
        if isinstance(sampler, Curriculum):
            raise ValueError("a curriculum cannot be the sampler of a curriculum")
        return sampler

    @model_validator(mode="after")
    def _has_scores(self) -> Self:
        if self.scores is None and self.order != "random":
            raise ValueError(
                f"order {self.order} needs scores: the file that `vidssl data scores` writes"
            )
        return self

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_plugins.samplers.curriculum import CurriculumSampler

        return CurriculumSampler(self, self.sampler.build())

    def labels(self) -> Mapping[str, int]:
        """Name the labels of the other sampler."""
        return self.sampler.labels()

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the labels of the other sampler."""
        return self.sampler.classes()
