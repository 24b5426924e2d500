"""From decoded frames to network input: crop, flip, colour, normalise, residual.

Parameters are drawn on the CPU, addressed by key, so that a CPU and a GPU see the same picture up
to rounding. Pixels are worked on in batch, on the training device, from uint8.

Pictures are (…, T, H, W, C) until the last line of `prepare`; clips are (N, C, T, H, W) after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.clips import ClipPlan, Draw, Key, View
    from vidssl_cli.recipe import Augment, Colour, Input

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

_TO_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)


@dataclass(frozen=True)
class Parameters:
    """What happens to N clips; F is T, or 1 where all frames of a clip share their colours."""

    top: NDArray[np.int64]
    """(N,) first row of the crop."""
    left: NDArray[np.int64]
    """(N,) first column of the crop."""
    flip: NDArray[np.bool_]
    """(N,) whether the clip is mirrored."""
    matrix: NDArray[np.float32]
    """(N, F, 3, 3) maps red, green, blue from 0 to 1."""
    offset: NDArray[np.float32]
    """(N, F) share of a frame's mean luma that is added to every channel (contrast)."""

    @classmethod
    def stack(cls, parts: Sequence[Parameters]) -> Parameters:
        """Join the parameters of several videos."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def centre(clips: int, size: tuple[int, int], crop: int) -> Parameters:
    """Return the parameters of evaluation: the centre crop (rounded down), nothing else."""
    height, width = size
    return Parameters(
        top=np.full(clips, (height - crop) // 2),
        left=np.full(clips, (width - crop) // 2),
        flip=np.zeros(clips, bool),
        matrix=np.broadcast_to(np.eye(3, dtype=np.float32), (clips, 1, 3, 3)),
        offset=np.zeros((clips, 1), np.float32),
    )


def draw_parameters(
    plan: ClipPlan, draw: Draw, augment: Augment, crop: int, size: tuple[int, int]
) -> Parameters:
    """Draw the parameters of the views of one video whose frames have the given (height, width)."""
    parts = [
        _draw_view(view, number, draw, augment, crop, size)
        for number, view in enumerate(plan.views)
    ]
    return Parameters.stack(parts)


def _draw_view(
    view: View, number: int, draw: Draw, augment: Augment, crop: int, size: tuple[int, int]
) -> Parameters:
    def key(shared: Key | None) -> Key:
        return number if shared is None else f"shared {shared}"

    top, left = (size[0] - crop) // 2, (size[1] - crop) // 2
    if augment.crop == "random":
        box = draw("crop", key(view.crop))
        top, left = box.integers(0, (size[0] - crop + 1, size[1] - crop + 1)).tolist()
    flip = draw("flip", key(view.flip)).random() < augment.flip
    sets = len(view.frames) if augment.colour.per == "frame" else 1
    matrix, offset = _draw_colours(draw("colour", key(view.colour)), augment.colour, sets)
    if draw("grey", key(view.colour)).random() < augment.grey:
        matrix = (np.ones((3, 1)) * GREY) @ matrix
    return Parameters(
        top=np.array([top]),
        left=np.array([left]),
        flip=np.array([flip]),
        matrix=matrix[None].astype(np.float32),
        offset=offset[None].astype(np.float32),
    )


def _draw_colours(
    random: np.random.Generator, colour: Colour, sets: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw (sets, 3, 3) matrices and (sets,) offsets.

    Brightness, contrast, saturation and hue (a rotation of chroma) in this order are one affine
    map of a pixel and the mean luma of its frame, since all of them leave grey on the grey axis.
    """
    low, high = -np.ones(sets), np.ones(sets)
    brightness = np.maximum(1 + colour.brightness * random.uniform(low, high), 0)
    contrast = np.maximum(1 + colour.contrast * random.uniform(low, high), 0)
    saturation = np.maximum(1 + colour.saturation * random.uniform(low, high), 0)
    angle = 2 * np.pi * colour.hue * random.uniform(low, high)
    mix = colour.mix * random.uniform(-1, 1, (sets, 3, 3))
    changed = random.uniform(size=sets) < colour.probability

    turn = np.zeros((sets, 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    hue = _FROM_YIQ @ turn @ _TO_YIQ
    share = saturation[:, None, None]
    saturate = share * np.eye(3) + (1 - share) * np.ones((3, 1)) * GREY
    gain = (brightness * contrast)[:, None, None]
    matrix = (np.eye(3) + mix) @ hue @ saturate * gain
    offset = brightness * (1 - contrast)
    return (
        np.where(changed[:, None, None], matrix, np.eye(3)),
        np.where(changed, offset, 0.0),
    )


def prepare(pixels: Tensor, parameters: Parameters, settings: Input) -> Tensor:
    """Turn pictures (N, T, H, W, 3) uint8 into clips (N, 3, T, S, S) float32, S = the crop's side.

    The result has the memory layout of channels_last_3d, which is the layout of the pictures.
    """
    device = pixels.device
    crop = _crop(pixels, parameters, settings.crop)
    x = crop.to(torch.float32).div_(255)
    if not _leaves_colours(parameters):
        x = _recolour(x, parameters)
    mean = torch.tensor(settings.mean, device=device)
    std = torch.tensor(settings.std, device=device)
    x = x.sub_(mean).div_(std)
    if settings.mode == "residual":
        steps = x[:, 1:] - x[:, :-1]
        x = torch.cat([steps, steps[:, -1:]], dim=1)
    return x.permute(0, 4, 1, 2, 3)


def _crop(pixels: Tensor, parameters: Parameters, side: int) -> Tensor:
    out = pixels.new_empty((*pixels.shape[:2], side, side, 3))
    boxes = zip(parameters.top.tolist(), parameters.left.tolist(), parameters.flip, strict=True)
    for clip, (top, left, flip) in enumerate(boxes):
        box = pixels[clip, :, top : top + side, left : left + side]
        out[clip] = box.flip(2) if flip else box
    return out


def _leaves_colours(parameters: Parameters) -> bool:
    return not parameters.offset.any() and bool((parameters.matrix == np.eye(3)).all())


def _recolour(x: Tensor, parameters: Parameters) -> Tensor:
    """Apply the colour maps to pictures (N, T, S, S, 3) from 0 to 1."""
    clips, frames, height, width, _ = x.shape
    flat = x.view(clips * frames, height * width, 3)
    matrix = torch.from_numpy(np.ascontiguousarray(parameters.matrix)).to(x.device)
    offset = torch.from_numpy(parameters.offset).to(x.device)
    matrix = matrix.expand(clips, frames, 3, 3).reshape(-1, 3, 3)
    luma = flat.mean(1) @ torch.from_numpy(GREY).to(x.device)
    shift = offset.expand(clips, frames).reshape(-1) * luma
    flat = torch.baddbmm(shift[:, None, None].expand(-1, 1, 3), flat, matrix.transpose(1, 2))
    return flat.clamp_(0, 1).view_as(x)
