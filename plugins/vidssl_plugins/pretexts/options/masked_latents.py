"""Options of `masked_latents`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt, field_validator

from vidssl_cli.contract.hooks import (
    Options,
    Pretext,
    PretextContext,
    PretextOptions,
    ascending,
)


class Blocks(BaseModel):
    """Blocks of places that are masked at all times of a clip; they may overlap."""

    model_config = Options.model_config

    count: PositiveInt
    """Blocks of a clip."""
    area: Annotated[float, Field(gt=0, lt=1)]
    """Share of the places that a block covers."""
    ratio: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.5)
    """Smallest and largest height divided by width."""

    @field_validator("ratio")
    @classmethod
    def _ascends(cls, limits: tuple[float, float]) -> tuple[float, float]:
        return ascending(limits)


class MaskedLatents(PretextOptions):
    """Predicts a slow copy's features of masked tubelets (Bardes et al. 2024, V-JEPA).

    https://arxiv.org/abs/2404.08471. The backbone, one of tokens such as `vit`, sees the tubelets
    that are not masked. A narrow predictor tells from these what a slow copy of the backbone,
    which sees the whole clip, gives for the others.
    """

    name: Literal["masked_latents"]
    masks: Annotated[tuple[Blocks, ...], Field(min_length=1)] = (
        Blocks(count=8, area=0.15),
        Blocks(count=2, area=0.7),
    )
    """Each is a mask of ``count`` blocks, which may overlap, the same at all times. A block covers
    the share ``area`` of the places; its height by width is within ``ratio``. Every clip is seen
    and predicted once for each mask."""
    depth: PositiveInt = 12
    """Blocks of the predictor."""
    width: PositiveInt = 384
    """Numbers of a token in the predictor."""
    heads: PositiveInt = 12
    """Heads of attention in the predictor."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.998
    """Share of its weights that the slow copy keeps at each step."""
    loss: Literal["l1", "smooth_l1"] = "l1"
    """Distance between what is predicted and the copy's features."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the predictor and the slow copy."""
        from vidssl_plugins.pretexts.masked_latents import MaskedLatentsPretext

        return MaskedLatentsPretext(
            context,
            masks=[(mask.count, mask.area, mask.ratio) for mask in self.masks],
            predictor=(self.width, self.depth, self.heads),
            momentum=self.momentum,
            loss=self.loss,
        )
