"""The menu: what this package offers to recipes. It imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from vidssl_cli.contract.hooks import PretextContext, PretextOptions, SamplerOptions, hookimpl

if TYPE_CHECKING:
    from vidssl_cli.contract.clips import Sampler
    from vidssl_cli.contract.hooks import Pretext


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

        return Freeze(self)

    def labels(self) -> Mapping[str, int]:
        """Name the label."""
        return {"frozen": 2}


class FreezePretext(PretextOptions):
    """Tells clips that stand still from clips that go on."""

    needs: ClassVar[frozenset[str]] = frozenset({"frozen"})

    name: Literal["freeze"]

    def build(self, context: PretextContext) -> Pretext:
        """Build the head."""
        from vidssl_example.freeze import FreezeHead

        return FreezeHead(context)


@hookimpl
def vidssl_samplers() -> list[type[SamplerOptions]]:
    """Offer the sampler."""
    return [FreezeSampler]


@hookimpl
def vidssl_pretexts() -> list[type[PretextOptions]]:
    """Offer the pretext task."""
    return [FreezePretext]


@hookimpl
def vidssl_recipes() -> list[Path]:
    """Offer the recipes of this package."""
    return [Path(__file__).parent / "recipes"]
