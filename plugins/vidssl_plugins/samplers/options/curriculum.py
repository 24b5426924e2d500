"""Options of `curriculum`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from vidssl_cli.contract.hooks import SamplerOptions
from vidssl_cli.contract.registry import Offered
from vidssl_plugins.samplers.options.curriculum_pacing import AnyPacing, SinglePacing

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


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

        return CurriculumSampler(
            self.sampler.build(),
            self.pacing,
            order=self.order,
            scores=None if self.scores is None else Path(self.scores),
            video_score=self.video_score,
        )

    def labels(self) -> Mapping[str, int]:
        """Name the labels of the other sampler."""
        return self.sampler.labels()

    def classes(self) -> Mapping[str, Sequence[str]]:
        """Name the classes of the labels of the other sampler."""
        return self.sampler.classes()
