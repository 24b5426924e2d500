"""Taps of a backbone as one vector for each clip, which heads read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from vidssl_cli.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from vidssl_cli.contract.hooks import PretextContext

Reduce = Literal["mean", "max_space"]


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


def clip_vectors(features: Mapping[str, Tensor], tap: str, reduce: Reduce = "mean") -> Tensor:
    """Return a tap (B, V, D) or (B, V, D, T, H, W) as vectors (B, V, D).

    A map is averaged over time and over space, of which ``max_space`` takes the maximum instead.
    """
    values = features[tap]
    if values.ndim == 3:
        return values
    return (
        values.amax(dim=(-2, -1)).mean(-1) if reduce == "max_space" else values.mean((-3, -2, -1))
    )
