"""Options of `c3d_light`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from vidssl_cli.contract.hooks import Backbone, BackboneOptions, Options
from vidssl_plugins.backbones.options.shared import BatchNorm
from vidssl_plugins.backbones.options.tgn import TGN


class NoNorm(Options):
    """No normalisation."""

    name: Literal["none"]


class C3DLight(BackboneOptions):
    """C3D with five convolutions: 4.65 M parameters (motion statistics, temporal transformations).

    Its pooling rounds up, so that clips of 16 x 112 x 112 end as 256 x 1 x 4 x 4.
    """

    name: Literal["c3d_light"]
    norm: Annotated[BatchNorm | TGN | NoNorm, Field(discriminator="name")] = BatchNorm(name="bn")
    """How the output of a convolution is normalised; ``none`` for the motion statistics of 2019."""
    width: PositiveInt = 64
    """Channels of the first convolution; the last three have 4 times as many."""
    representation: Literal["flatten", "gap"] = "flatten"
    """Every number of pool5 (4096), or the average of conv5 over time and space (256)."""
    cells: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 4)
    """Frames, rows and columns of pool5, for ``flatten``; 1 x 4 x 4 if clips are 16 x 112 x 112."""

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.c3d_light import c3d_light

        norm = None if isinstance(self.norm, NoNorm) else self.norm.build
        return c3d_light(self.width, norm, self.cells if self.representation == "flatten" else None)
