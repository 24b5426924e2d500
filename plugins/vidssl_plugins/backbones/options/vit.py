"""Options of `vit`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, Self

from pydantic import PositiveFloat, PositiveInt, model_validator

from vidssl_cli.contract.hooks import Backbone, BackboneOptions, PublicWeights
from vidssl_plugins.backbones.options.vit_public import described

SIZES = {
    "tiny": (192, 12, 3, 768),
    "small": (384, 12, 6, 1536),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
    "giant": (1408, 40, 22, 6144),
}
"""Width, blocks, heads and hidden width of the MLP by size."""


class ViT(BackboneOptions):
    """Video transformer: attention among all tubelets of a clip (Tong et al. 2022, VideoMAE).

    Parameters with tubelets of 2 x 16 x 16: tiny 5.6 M, small 21.9 M, base 86.2 M, large 303.9 M,
    huge 631.7 M, giant 1.01 billion. Null stands for what the size says.
    """

    name: Literal["vit"]
    size: Literal["tiny", "small", "base", "large", "huge", "giant"] = "base"
    """Width, depth, heads and hidden width in one word; giant has V-JEPA 2's 22 heads."""
    width: PositiveInt | None = None
    """D, numbers of a token and of the representation."""
    depth: PositiveInt | None = None
    """Blocks."""
    heads: PositiveInt | None = None
    """Heads of attention, which share the width equally; null is one for each 64 numbers of a
    ``width`` that is given, or one."""
    hidden: PositiveInt | None = None
    """Width between the two layers of each MLP; null is 4 times a ``width`` that is given."""
    tubelet: tuple[PositiveInt, PositiveInt, PositiveInt] = (2, 16, 16)
    """Frames, rows and columns of pixels that become one token."""
    positions: Literal["sine", "learned", "rotary"] = "sine"
    """How a token's place is told: a fixed table of sines over the number of the token (VideoMAE);
    a learned table; or turns of queries and keys by frame, row and column (V-JEPA 2)."""
    clip: tuple[PositiveInt, PositiveInt, PositiveInt] = (16, 224, 224)
    """Frames, rows and columns of the clips that a table is made for; for other clips it is
    interpolated. Rotary positions have no table."""
    final_norm: Literal["tokens", "mean", "none"] = "tokens"
    """Layer norm of every token, before they are averaged; of the average; or none."""
    eps: PositiveFloat = 1e-6
    """Added to the variance in layer norms."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Width, depth, heads and hidden width."""
        width, depth, heads, hidden = SIZES[self.size]
        if self.width:
            width, heads, hidden = self.width, max(1, self.width // 64), 4 * self.width
        return width, self.depth or depth, self.heads or heads, self.hidden or hidden

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens of ``clip`` along time, rows and columns."""
        frames, rows, columns = (
            size // part for size, part in zip(self.clip, self.tubelet, strict=True)
        )
        return frames, rows, columns

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        width, _, heads, _ = self.shape
        if width % (2 * heads):
            raise ValueError(f"width {width} cannot be cut into {heads} heads of even width")
        if self.positions == "rotary" and width // heads < 6:
            raise ValueError(
                f"heads of {width // heads} numbers are too narrow for rotary positions, "
                "which need 2 for each of frame, row and column"
            )
        if 0 in self.grid:
            raise ValueError(f"clip {self.clip} is smaller than a tubelet of {self.tubelet}")
        return self

    @classmethod
    def described(cls, config: Mapping[str, Any], names: Collection[str]) -> PublicWeights | None:
        """Say what VideoMAE, VideoMAE v2 and V-JEPA 2 ask for."""
        return described(config, names)

    def build(self) -> Backbone:
        """Build the network, randomly initialised."""
        from vidssl_plugins.backbones.vit import VideoTransformer

        return VideoTransformer(
            *self.shape,
            tubelet=self.tubelet,
            positions=self.positions,
            grid=self.grid,
            final_norm=self.final_norm,
            eps=self.eps,
        )
