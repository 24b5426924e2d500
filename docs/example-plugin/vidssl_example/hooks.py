"""What this package offers to recipes."""

from __future__ import annotations

from pathlib import Path

from vidssl_cli.contract.hooks import PretextOptions, SamplerOptions, hookimpl
from vidssl_example.options.freeze import FreezePretext, FreezeSampler


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
