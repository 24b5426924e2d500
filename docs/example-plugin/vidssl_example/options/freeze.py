"""Options of `freeze`, a sampler and a pretext task. They import no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from vidssl_cli.contract.hooks import Pretext, PretextContext, PretextOptions, SamplerOptions

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler


class FreezeSampler(SamplerOptions):
    """Lets every second clip stand still from the middle on.

    Offers the label ``frozen``: 1 for a clip that stands still.
    """

    name: Literal["freeze"]
    frames: Annotated[int, Field(ge=2)] = 16
    """T, frames per clip."""

    def build(self) -> Sampler:
        """Build the sampler."""
        from vidssl_example.freeze import Freeze

        return Freeze(self.frames)

    def labels(self) -> Mapping[str, int]:
        """Name the label."""
        return {"frozen": 2}


class FreezePretext(PretextOptions):
    """Classifies whether a clip stands still."""

    needs: ClassVar[frozenset[str]] = frozenset({"frozen"})

    name: Literal["freeze"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_example.freeze import FreezeHead

        return FreezeHead(context)
