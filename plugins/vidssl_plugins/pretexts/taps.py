"""What a head reads: one vector for each clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vidssl_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vidssl_cli.hooks import PretextContext


def tap_dim(tap: str, context: PretextContext) -> int:
    """Return the channels D of a tap.

    Raises:
        UsageError: if the backbone has no such tap.
    """
    if tap not in context.taps:
        raise UsageError(
            f"the backbone has no tap {tap!r}", hint=f"it has {', '.join(context.taps)}"
        )
    return context.taps[tap]


def clip_vectors(features: Mapping[str, Tensor], tap: str) -> Tensor:
    """Return a tap (B, V, D) or (B, V, D, T, H, W) as vectors (B, V, D), averaging a map."""
    values = features[tap]
    return values if values.ndim == 3 else values.mean(dim=(-3, -2, -1))
