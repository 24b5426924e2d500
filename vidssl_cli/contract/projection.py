"""The layers that make what a pretext task compares, so that an encoder can keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, PositiveInt

if TYPE_CHECKING:
    from torch import nn


class Projection(BaseModel):
    """Linear layers with ReLU between them, on a tap that is averaged over time and space."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    tap: str
    """Layer of the backbone that it reads."""
    hidden: tuple[PositiveInt, ...] = ()
    """Widths of the hidden layers; without any there is one linear layer with ReLU."""
    dim: PositiveInt
    """Numbers that it gives."""
    norm: bool = False
    """Whether batch norm goes before the ReLU of every hidden layer."""

    def build(self, channels: int) -> nn.Sequential:
        """Build the layers, randomly initialised, for a tap with so many channels."""
        from torch import nn

        from vidssl_cli.contract.mlp import mlp

        head = mlp([channels, *self.hidden, self.dim], norm=self.norm)
        # The "fc" of Wang's thesis is one rectified layer; a deeper head ends with a linear one.
        return head if self.hidden else head.append(nn.ReLU())
