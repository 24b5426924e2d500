"""What a pretext task may ask for in addition to clips: pixels and flow, cropped like the clips.

Both are cut, scaled, mirrored and turned like the clips of `augment`, on the training device;
they get neither colour changes nor blur nor normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.data.augment import cut
from vidssl_cli.data.transfer import send

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.data.augment import Parameters


def cut_pixels(
    pictures: Sequence[Tensor] | Tensor,
    parameters: Parameters,
    side: int,
    placed: Tensor | None = None,
) -> Tensor:
    """Return (N, 3, T, S, S) uint8 of N pictures (T, 3, H, W) uint8; see `cut_flow`."""
    return _cut_sharp(pictures, parameters, side, placed).round_().to(torch.uint8).transpose(1, 2)


def cut_flow(
    fields: Sequence[Tensor] | Tensor,
    parameters: Parameters,
    side: int,
    placed: Tensor | None = None,
) -> Tensor:
    """Return the flow that the pixels of the network's square have.

    Args:
        fields: N of (F, 2, H, W) float32: right and down, in pixels of frames of H x W.
        parameters: of the N clips. Mirroring and turning a clip changes the direction of its flow.
        side: S, of the square.
        placed: of the clips, on the device, if it is there already; see `augment.Operands`.

    Returns:
        (N, 2, F, S, S) float32: right and down, in pixels of the square.
    """
    flow = _cut_sharp(fields, parameters, side, placed)
    (change,) = send([_directions(parameters, side)], flow.device)
    return (change[:, None] @ flow.flatten(3)).view_as(flow).transpose(1, 2)


def _directions(parameters: Parameters, side: int) -> NDArray[np.float32]:
    """Return (N, 2, 2): what becomes of right and down when a clip is scaled, mirrored, turned."""
    scale = side / parameters.box[:, [3, 2]]
    scale[parameters.flip, 0] *= -1
    quarters = np.array(
        [[[1, 0], [0, 1]], [[0, 1], [-1, 0]], [[-1, 0], [0, -1]], [[0, -1], [1, 0]]]
    )
    return (quarters[parameters.turns % 4] * scale[:, None]).astype(np.float32)


def _cut_sharp(
    frames: Sequence[Tensor] | Tensor, parameters: Parameters, side: int, placed: Tensor | None
) -> Tensor:
    """Return (N, F, C, S, S) float32 of N clips (F, C, H, W), without blur."""
    sharp = replace(parameters, blur=np.zeros_like(parameters.blur))
    return cut(frames, sharp, side, placed)
