"""How a curriculum goes on from easy clips to all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Pacing(BaseModel):
    """How fast a curriculum goes on from easy clips to all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    start: Annotated[float, Field(gt=0, le=1)] = 0.125
    """Share of the clips to begin with."""

    def shares(self, epoch_steps: int, epochs: int) -> list[tuple[int, float]]:
        """Return where each stage begins, in steps, and the share of the clips that it draws on."""
        return [(0, self.start)]


class StagedPacing(Pacing):
    """A pacing whose stages have lengths."""

    unit: Literal["epochs", "steps"] = "epochs"
    """What lengths count."""

    def steps(self, length: int, epoch_steps: int) -> int:
        """Return a length in optimizer steps."""
        return length * epoch_steps if self.unit == "epochs" else length


class SinglePacing(StagedPacing):
    """A share of the clips first, then all."""

    name: Literal["single"]
    start: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the clips to begin with."""
    length: PositiveInt | None = None
    """How long the first stage is; half of the run if not given."""

    def shares(self, epoch_steps: int, epochs: int) -> list[tuple[int, float]]:
        """Return the two stages, or all clips from the beginning of a run of one step."""
        half = epoch_steps * epochs // 2
        length = half if self.length is None else self.steps(self.length, epoch_steps)
        return [(0, self.start), (length, 1.0)] if length else [(0, 1.0)]


class ExponentialPacing(StagedPacing):
    """A pacing that multiplies the share from stage to stage."""

    def growing(
        self, increase: float, lengths: Sequence[int], epoch_steps: int
    ) -> list[tuple[int, float]]:
        """Return the stages, given the length of each but the last."""
        return [
            (
                self.steps(sum(lengths[:stage]), epoch_steps),
                min(self.start * increase**stage, 1.0),
            )
            for stage in range(len(lengths) + 1)
        ]


class FixedExponentialPacing(ExponentialPacing):
    """Multiplies the share after stages of equal length."""

    name: Literal["fixed_exponential"]
    length: PositiveInt
    """How long each stage is."""
    increase: Annotated[float, Field(gt=1)] = 2
    """Factor from stage to stage."""

    def shares(self, epoch_steps: int, epochs: int) -> list[tuple[int, float]]:
        """Return as many stages as it takes to draw on all clips."""
        stages = math.ceil(math.log(1 / self.start, self.increase) - 1e-9)
        return self.growing(self.increase, [self.length] * stages, epoch_steps)


class VariedExponentialPacing(ExponentialPacing):
    """Multiplies the share after stages of given lengths."""

    name: Literal["varied_exponential"]
    lengths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    """How long each stage is but the last."""
    increase: Annotated[float, Field(gt=1)] = 2
    """Factor from stage to stage."""

    def shares(self, epoch_steps: int, epochs: int) -> list[tuple[int, float]]:
        """Return a stage for each length, and a last one."""
        return self.growing(self.increase, self.lengths, epoch_steps)


class ConstantPacing(Pacing):
    """The same share of the clips throughout, to separate order from number."""

    name: Literal["constant"]
    start: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the clips."""


AnyPacing = SinglePacing | FixedExponentialPacing | VariedExponentialPacing | ConstantPacing
