"""What can be said of fully connected layers on frozen features."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)


class FC(BaseModel):
    """New fully connected layers and how they are trained.

    Jenni, Meishvili and Favaro (2020), section 4: three layers on a frozen network, 50 epochs.
    Optimizer, schedule and batch norm are those of their code.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hidden: tuple[PositiveInt, ...] = (2048, 2048)
    """Widths of the layers before the last."""
    norm: bool = True
    """Put batch norm before the ReLU of every hidden layer."""
    epochs: PositiveInt = 50
    """How often every clip is seen."""
    batch: Annotated[int, Field(ge=2)] = 24
    """Clips of a step, at least."""
    lr: PositiveFloat = 5e-5
    """Learning rate of AdamW at the beginning; falls to a thousandth along a cosine."""
    weight_decay: NonNegativeFloat = 1e-4
    """On weights; biases and batch norm are spared."""
    seed: NonNegativeInt = 0
    """Draws the first weights and the order of the clips."""
