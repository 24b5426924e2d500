"""From a tap of the backbone to one vector for each clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from vidssl_cli.base.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from vidssl_cli.contract.study import Pool

_KERNELS = {"maxpool122": (1, 2, 2), "maxpool222": (2, 2, 2)}


def check_tap(backbone: str, taps: Collection[str], tap: str) -> None:
    """Refuse a tap that a backbone does not have.

    Raises:
        UsageError: it does not; the hint lists those that it has.
    """
    if tap not in taps:
        raise UsageError(
            f"the backbone {backbone} has no tap {tap!r}",
            where="tap",
            hint=f"it has {', '.join(taps)}",
        )


def pool_tap(tap: Tensor, pool: Pool) -> Tensor:
    """Pool a tap (N, C, T, H, W) to vectors (N, D); a tap that is (N, D) already is returned.

    ``gap`` and ``gmp`` average and maximise over time and space, D = C. ``flatten`` keeps every
    cell. ``maxpool122`` and ``maxpool222`` first maximise over blocks of that many frames, rows
    and columns (VCOP and PSP describe a clip by the former: 512x2x7x7 gives 9216 numbers).
    ``adaptive_max233`` keeps 2 x 3 x 3 maxima of each channel, whatever the size of the input.

    Raises:
        UsageError: the tap is too small for the blocks, or a vector.
    """
    if tap.ndim == 2:
        if pool not in ("gap", "gmp", "flatten"):
            raise UsageError(
                f"the pooling {pool} needs a map; this tap is a vector of {tap.shape[1]} numbers",
                hint="choose a tap with time and space, such as conv5",
            )
        return tap
    match pool:
        case "gap":
            return tap.mean(dim=(2, 3, 4), dtype=torch.float32)
        case "gmp":
            return tap.amax(dim=(2, 3, 4))
        case "flatten":
            return tap.flatten(1)
        case "adaptive_max233":
            return F.adaptive_max_pool3d(tap, (2, 3, 3)).flatten(1)
    kernel = _KERNELS[pool]
    if any(size < block for size, block in zip(tap.shape[2:], kernel, strict=True)):
        raise UsageError(
            f"the pooling {pool} does not fit a tap of {tuple(tap.shape[2:])} cells",
            hint="choose an earlier tap, longer or larger clips, or another pooling",
        )
    return F.max_pool3d(tap, kernel).flatten(1)
