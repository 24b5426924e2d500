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

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.data.augment import Parameters


def cut_pixels(pictures: Sequence[Tensor], parameters: Parameters, side: int) -> Tensor:
    """Return (N, 3, T, S, S) uint8 of N pictures (T, 3, H, W) uint8."""
    return _cut_all(pictures, parameters, side).round_().to(torch.uint8).transpose(1, 2)


def cut_flow(fields: Sequence[Tensor], parameters: Parameters, side: int) -> Tensor:
    """Return the flow that the pixels of the network's square have.

    Args:
        fields: N of (F, 2, H, W) float32: right and down, in pixels of frames of H x W.
        parameters: of the N clips. Mirroring and turning a clip changes the direction of its flow.
        side: S, of the square.

    Returns:
        (N, 2, F, S, S) float32: right and down, in pixels of the square.
    """
    flow = _cut_all(fields, parameters, side)
    for number, clip in enumerate(flow):
        _, _, height, width = parameters.box[number].tolist()
        turns = int(parameters.turns[number])
        right, down = clip[:, 0].clone(), clip[:, 1].clone()
        right *= side / width * (-1 if parameters.flip[number] else 1)
        down *= side / height
        for _ in range(turns % 4):  # counter-clockwise: what went right goes up
            right, down = down, -right
        clip[:, 0], clip[:, 1] = right, down
    return flow.transpose(1, 2)


def _cut_all(frames: Sequence[Tensor], parameters: Parameters, side: int) -> Tensor:
    """Return (N, F, C, S, S) float32 of N clips (F, C, H, W)."""
    sharp = replace(parameters, blur=np.zeros_like(parameters.blur))
    out = torch.empty((len(frames), *frames[0].shape[:2], side, side), device=frames[0].device)
    for number, clip in enumerate(frames):
        cut(out[number], clip, sharp[number:])
    return out
