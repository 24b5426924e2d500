"""Options of `masked_pixels`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions

Share = Annotated[float, Field(gt=0, lt=1)]


class MaskedPixels(PretextOptions):
    """Fills in the pixels of masked tubelets (Tong et al. 2022, VideoMAE).

    https://arxiv.org/abs/2203.12602. The backbone, one of tokens such as `vit`, sees the tubelets
    that are not masked; a light decoder predicts the pixels of the others from what it gives.
    """

    name: Literal["masked_pixels"]
    ratio: Share = 0.9
    """Share of tubelets that are masked."""
    mask: Literal["tube", "random"] = "tube"
    """Whether the same places are masked at all times of a clip, or others at each."""
    depth: NonNegativeInt = 4
    """Blocks of the decoder."""
    width: PositiveInt = 384
    """Numbers of a token in the decoder; VideoMAE has half of the backbone's."""
    heads: PositiveInt = 6
    """Heads of attention in the decoder."""
    normalise: bool = True
    """Predict pixels minus their mean, by their deviation, in each tubelet and colour."""
    target: Literal["pixels", "differences"] = "pixels"
    """What is predicted: frames, or differences of consecutive frames (the last is repeated)."""

    def build(self, context: PretextContext) -> Pretext:
        """Build the decoder."""
        from vidssl_plugins.pretexts.masked_pixels import MaskedPixelsPretext

        return MaskedPixelsPretext(
            context,
            ratio=self.ratio,
            tube=self.mask == "tube",
            decoder=(self.width, self.depth, self.heads),
            normalise=self.normalise,
            differences=self.target == "differences",
        )
