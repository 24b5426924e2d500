"""From decoded frames to network input: crop, scale, flip, blur, colour, normalise, residual.

Parameters are drawn on the CPU, addressed by key, so that a CPU and a GPU make the same picture up
to rounding. Pixels are processed on the training device, from uint8.

Pictures are (T, C, H, W): a frame's colours are planes, as they leave the decoder, for arithmetic
on planes runs at the speed of memory. Clips are (N, C, T, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from vidssl_cli.data.colour import GREY, NO_CHANGE, draw_colours, jitter
from vidssl_cli.data.resample import scale_together
from vidssl_cli.data.transfer import send
from vidssl_cli.media.geometry import Box, centre_box, random_box, random_square, resampling

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.config.sections import Augment, Input
    from vidssl_cli.contract.clips import ClipPlan, Draw, Key, View

TOGETHER = 64
"""Clips that a GPU augments at once; they take a gigabyte while it does."""


@dataclass(frozen=True)
class Parameters:
    """How N clips are augmented; F is T, or 1 where all frames of a clip share their colours."""

    box: NDArray[np.int64]
    """(N, 4) top, left, height and width of what is cut and scaled to the network's square."""
    flip: NDArray[np.bool_]
    """(N,) whether the clip is mirrored."""
    turns: NDArray[np.int64]
    """(N,) quarter turns counter-clockwise of what is cut, scaled and mirrored."""
    blur: NDArray[np.float32]
    """(N,) deviation of a Gaussian blur in pixels of the square; 0 does not blur."""
    steps: NDArray[np.float32]
    """(N, F, 4) brightness, contrast, saturation and hue, applied one by one (exact form)."""
    matrix: NDArray[np.float32]
    """(N, F, 3, 3) maps red, green, blue, after the steps."""
    offset: NDArray[np.float32]
    """(N, F) share of a frame's mean luma that is added to every channel (contrast)."""

    def __getitem__(self, clips: slice) -> Parameters:
        """Return the parameters of some of the clips."""
        return Parameters(**{name: values[clips] for name, values in vars(self).items()})

    @classmethod
    def stack(cls, parts: Sequence[Parameters]) -> Parameters:
        """Join the parameters of several videos."""
        names = cls.__dataclass_fields__
        return cls(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def centre(size: tuple[int, int], side: int) -> Parameters:
    """Return the parameters of one clip in evaluation: the centre crop and nothing else."""
    return cropped(centre_box(side, size))


def cropped(box: Box) -> Parameters:
    """Return the parameters of one clip that is cropped to a box and not augmented otherwise."""
    return Parameters(
        box=np.array([box]),
        flip=np.zeros(1, bool),
        turns=np.zeros(1, np.int64),
        blur=np.zeros(1, np.float32),
        steps=NO_CHANGE[None, None],
        matrix=np.eye(3, dtype=np.float32)[None, None],
        offset=np.zeros((1, 1), np.float32),
    )


def draw_parameters(
    plan: ClipPlan, draw: Draw, augment: Augment, side: int, size: tuple[int, int]
) -> Parameters:
    """Draw the parameters of the views of one video whose frames have the given (height, width)."""
    geometry = plan.geometry or draw
    region = (0, 0, *size)
    if plan.geometry and augment.crop != "center":
        # Frames of one short side all hold its square, whatever their shape: boxes in it lie to one
        # another as in the other videos that share them.
        region = random_square(geometry("region"), min(size), size)
    rows = [
        _draw_view(view, number, draw, geometry, augment, side, region)
        for number, view in enumerate(plan.views)
    ]
    return Parameters(*(np.array(column) for column in zip(*rows, strict=True)))


def _draw_view(
    view: View,
    number: int,
    draw: Draw,
    geometry: Draw,
    augment: Augment,
    side: int,
    region: Box,
) -> tuple[Any, ...]:
    """Draw a row of every field of `Parameters`."""

    def key(shared: Key | None) -> Key:
        return number if shared is None else f"shared {shared}"

    def happens(source: Draw, purpose: str, shared: Key | None, probability: float) -> bool:
        return probability > 0 and source(purpose, key(shared)).random() < probability

    box = _draw_box(geometry("crop", key(view.crop)), augment, side, region)
    flip = happens(geometry, "flip", view.flip, augment.flip)
    blur = np.float32(0)
    if happens(draw, "blur", view.colour, augment.blur.probability):
        blur = np.float32(draw("sigma", key(view.colour)).uniform(*augment.blur.sigma))
    sets = len(view.frames) if augment.colour.per == "frame" else 1
    matrix, offset, steps = draw_colours(draw("colour", key(view.colour)), augment.colour, sets)
    if happens(draw, "grey", view.colour, augment.grey):
        matrix = np.broadcast_to(GREY @ matrix[:, None], matrix.shape)
    return box, flip, view.turns, blur, steps, matrix, offset


def _draw_box(random: np.random.Generator, augment: Augment, side: int, region: Box) -> Box:
    """Draw a box in a region of a frame."""
    size = region[2:]
    if augment.crop == "center":
        box = centre_box(side, size)
    elif augment.crop == "random":
        box = random_square(random, side, size)
    else:
        box = random_box(random, augment.crop, size)
    return region[0] + box[0], region[1] + box[1], *box[2:]


@dataclass(frozen=True)
class Operands:
    """What the arithmetic of augmentation needs of `Parameters`, on the device."""

    placed: Tensor
    """(5, 2, N), as in `resample.scale_together`."""
    steps: Tensor
    """(N, F, 4), those of the parameters."""
    matrix: Tensor
    """(N, F, 3, 3) from 0..255 to normalised colours."""
    shift: Tensor
    """(N, F, 3) what the mean luma of a frame is multiplied with and added."""
    zero: Tensor
    """(3,) what black becomes."""
    grey: Tensor
    """(3,) `colour.GREY`."""

    def __getitem__(self, clips: slice) -> Operands:
        """Return the operands of some of the clips."""
        parts = self.steps[clips], self.matrix[clips], self.shift[clips]
        return Operands(self.placed[..., clips], *parts, self.zero, self.grey)


def operands(parameters: Parameters, settings: Input) -> list[NDArray[Any]]:
    """Return the fields of `Operands` on the host."""
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    return [
        place(parameters),
        parameters.steps,
        parameters.matrix / (255 * std[:, None]),
        parameters.offset[..., None] / (255 * std),
        -mean / std,
        GREY,
    ]


def place(parameters: Parameters) -> NDArray[np.float64]:
    """Return where the rows and columns of each clip come from: a turn reverses or swaps them."""
    top, left, height, width = parameters.box.T
    turns = parameters.turns % 4
    # Counter-clockwise: columns are reversed before an odd turn swaps them with rows, and so on.
    rows, columns = turns >= 2, (turns % 3 > 0) ^ parameters.flip
    pairs = [
        (top, left),
        (height, width),
        (rows, columns),
        (parameters.blur, parameters.blur),
        (turns % 2, turns % 2),
    ]
    return np.array(pairs, np.float64)


def prepare(
    pictures: Sequence[Tensor] | Tensor,
    parameters: Parameters,
    settings: Input,
    sent: Operands | None = None,
) -> Tensor:
    """Turn pictures into clips.

    Args:
        pictures: N of (T, 3, H, W) uint8, on the device that computes; H and W may differ.
        parameters: of the N clips.
        settings: the network's input; its crop is S, the side of the clips.
        sent: what `operands` returns, on the device, if it is there already.

    Returns:
        (N, 3, T, S, S) float32. Frame after frame lies in memory, each with its planes.
    """
    count, frames, side = len(pictures), len(pictures[0]), settings.crop
    device = pictures[0].device
    sent = sent or Operands(*send(operands(parameters, settings), device))
    out = torch.empty((count, frames, 3, side, side), device=device)
    # On a CPU one clip at a time, which fits into its cache; on a GPU fewer calls are faster.
    together = 1 if device.type == "cpu" else TOGETHER
    for first in range(0, count, together):
        clips = slice(first, first + together)
        _fill(out[clips], pictures[clips], parameters[clips], settings, sent[clips])
    return out.transpose(1, 2)


def _fill(
    out: Tensor,
    pictures: Sequence[Tensor] | Tensor,
    parameters: Parameters,
    settings: Input,
    operands: Operands,
) -> None:
    """Make the clips (N, T, 3, S, S) of pictures."""
    x = cut(pictures, parameters, settings.crop, operands.placed)
    if (parameters.steps != NO_CHANGE).any():
        jitter(x, operands.steps, hue_turns=bool(parameters.steps[..., 3].any()))
    _map_colours(out, x, operands, settings)
    if settings.mode == "residual":
        torch.sub(out[:, 1:], out[:, :-1], out=x[:, 1:])
        out[:, :-1] = x[:, 1:]
        out[:, -1] = x[:, -1]


def cut(
    pictures: Sequence[Tensor] | Tensor,
    parameters: Parameters,
    side: int,
    placed: Tensor | None = None,
) -> Tensor:
    """Return (N, T, C, S, S) float32: the boxes of N pictures (T, C, H, W), scaled and turned.

    ``placed`` is that of `Operands`, if it is on the device already.
    """
    if (device := pictures[0].device).type != "cpu":
        if placed is None:
            (placed,) = send([place(parameters)], device)
        frames = pictures if isinstance(pictures, torch.Tensor) else _padded(pictures)
        return scale_together(
            frames,
            placed,
            side,
            scales=bool((parameters.box[:, 2:] != side).any()),
            turns=bool((parameters.turns % 2).any()),
            blurs=bool(parameters.blur.any()),
        )
    out = torch.empty((len(pictures), *pictures[0].shape[:2], side, side), device=device)
    for number, picture in enumerate(pictures):
        _cut_one(out[number], picture, parameters[number:])
    return out


def _padded(pictures: Sequence[Tensor]) -> Tensor:
    """Join pictures (T, C, H, W) of any H and W; what is outside of a box does not matter."""
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (-2, -1))
    return torch.stack(
        [F.pad(p, (0, width - p.shape[-1], 0, height - p.shape[-2])) for p in pictures]
    )


def _cut_one(out: Tensor, picture: Tensor, parameters: Parameters) -> None:
    """Fill (T, C, S, S) with a box of (T, C, H, W), by the first of the parameters."""
    _scale(out, picture, parameters)
    if turns := int(parameters.turns[0]):
        out.copy_(out.rot90(turns, (-2, -1)).clone())


def _scale(out: Tensor, picture: Tensor, parameters: Parameters) -> None:
    side = out.shape[-1]
    top, left, height, width = parameters.box[0].tolist()
    box = picture[..., top : top + height, left : left + width]
    flip, sigma = bool(parameters.flip[0]), float(parameters.blur[0])
    if height == width == side and not sigma:
        out.copy_(box.flip(-1) if flip else box)
        return
    rows, columns = resampling(height, side, sigma), resampling(width, side, sigma)
    if flip:
        columns = np.ascontiguousarray(columns[::-1])
    across = box.to(torch.float32) @ torch.from_numpy(columns).T
    torch.matmul(torch.from_numpy(rows), across, out=out)


def _map_colours(out: Tensor, x: Tensor, operands: Operands, settings: Input) -> None:
    """Apply the colour maps and normalise, both (N, T, 3, S, S), x from 0 to 255, in one go."""
    count, frames, _, side, _ = x.shape
    luma = x.mean((-2, -1)) @ operands.grey
    bias = luma[..., None] * operands.shift + operands.zero
    torch.baddbmm(
        bias.view(-1, 3, 1),
        operands.matrix.expand(count, frames, 3, 3).reshape(-1, 3, 3),
        x.view(-1, 3, side * side),
        out=out.view(-1, 3, side * side),
    )
    mean, std = np.array(settings.mean, np.float32), np.array(settings.std, np.float32)
    for channel, (low, high) in enumerate(zip(-mean / std, (1 - mean) / std, strict=True)):
        out[:, :, channel].clamp_(float(low), float(high))
