"""Changes of colour: how they are drawn, and the two forms in which they are applied.

Brightness, contrast, saturation and hue come in this order. Their ``fast`` form is one affine map
for each frame: hue is a turn of chroma (YIQ), and values are clamped once, at the end. The
``exact`` form is torchvision's ColorJitter on float pictures: a clamp after every change, hue in
HSV. `benchmarks/augment.py` measures how they differ, in time and in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.config.sections import Colour

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

NO_CHANGE = np.array([1, 1, 1, 0], np.float32)
"""Brightness, contrast, saturation and hue that change nothing."""

_TO_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)
_LUMA = np.ones((3, 1)) * GREY
_PARTS = np.stack(
    [
        _LUMA,
        np.eye(3) - _LUMA,
        # A quarter turn of chroma from red to yellow, which is the direction of hue in HSV.
        _FROM_YIQ @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ _TO_YIQ,
    ]
).reshape(3, 9)
"""Luma, chroma, and chroma turned by a quarter, each as a map of red, green and blue."""

Maps = tuple["NDArray[np.float32]", "NDArray[np.float32]", "NDArray[np.float32]"]


def draw_colours(random: np.random.Generator, colour: Colour, sets: int) -> Maps:
    """Draw the colours of a clip; a set is for one frame or for all.

    Returns:
        (sets, 3, 3) matrices of red, green and blue; (sets,) share of a frame's mean luma that is
        added to all three; (sets, 4) brightness, contrast, saturation and hue that are applied one
        by one before that, which is `NO_CHANGE` in the fast form.
    """
    ranges = (colour.brightness, colour.contrast, colour.saturation, colour.hue)
    steps = NO_CHANGE + np.array(ranges) * random.uniform(-1, 1, (sets, 4))
    steps[:, :3] = np.maximum(steps[:, :3], 0)
    mix = np.eye(3) + colour.mix * random.uniform(-1, 1, (sets, 3, 3))
    alone = random.uniform(size=sets) >= colour.probability
    steps[alone], mix[alone] = NO_CHANGE, np.eye(3)
    matrix, offset = mix, np.zeros(sets)
    if colour.form == "fast":
        matrix, offset = mix @ affine(steps), steps[:, 0] * (1 - steps[:, 1])
        steps = np.tile(NO_CHANGE, (sets, 1))
    return matrix.astype(np.float32), offset.astype(np.float32), steps.astype(np.float32)


def affine(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (sets, 3, 3) matrices that apply (sets, 4) steps at once.

    One matrix is enough because all of them keep grey on the grey axis: luma is scaled by
    brightness and contrast, chroma moreover by saturation, and turned by hue. What contrast adds,
    brightness (1 - contrast) of the mean luma, is not in it.
    """
    brightness, contrast, saturation, hue = steps.T
    angle = 2 * np.pi * hue
    shares = [np.ones(len(steps)), saturation * np.cos(angle), saturation * np.sin(angle)]
    matrices: NDArray[np.float64] = (brightness * contrast * shares).T @ _PARTS
    return matrices.reshape(-1, 3, 3)


def steps_of(matrix: NDArray[np.float32], offset: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the (sets, 4) steps of maps: the inverse of `affine`.

    For maps that also mix channels, or make grey, these are the closest steps. A step that has no
    effect after the ones before it is `NO_CHANGE`.

    Args:
        matrix: (sets, 3, 3).
        offset: (sets,) as `draw_colours` returns it.
    """
    yiq = _TO_YIQ @ matrix @ _FROM_YIQ
    luma = yiq[:, 0, 0]
    brightness = luma + offset
    cosine = (yiq[:, 1, 1] + yiq[:, 2, 2]) / 2
    sine = (yiq[:, 1, 2] - yiq[:, 2, 1]) / 2
    chroma = np.hypot(cosine, sine)
    one = np.ones_like(luma)
    contrast = np.divide(luma, brightness, out=one.copy(), where=brightness > 0)
    saturation = np.divide(chroma, luma, out=one.copy(), where=luma > 0)
    hue = np.arctan2(sine, cosine) / (2 * np.pi) * (chroma > 1e-5)
    return np.stack([brightness, contrast, saturation, hue], 1)


def jitter(pictures: Tensor, steps: Tensor, *, hue_turns: bool = True) -> None:
    """Change colours in place, one change after another, as torchvision does.

    Args:
        pictures: (N, T, 3, H, W) from 0 to 255.
        steps: (N, F, 4) brightness, contrast, saturation, hue (share of a full turn from -0.5 to
            0.5); F is T, or 1 where all frames of a clip share them.
        hue_turns: whether any hue is not 0; without, the slowest of the changes is left out.
    """
    brightness, contrast, saturation, hue = steps[..., None, None].unbind(2)
    red, green, blue = (pictures[:, :, channel] for channel in range(3))
    pictures.mul_(brightness.unsqueeze(2)).clamp_(0, 255)
    mean = _luma(red, green, blue).mean((-2, -1), keepdim=True)
    pictures.mul_(contrast.unsqueeze(2)).add_(((1 - contrast) * mean).unsqueeze(2)).clamp_(0, 255)
    rest = _luma(red, green, blue).mul_(1 - saturation).unsqueeze(2)
    pictures.mul_(saturation.unsqueeze(2)).add_(rest).clamp_(0, 255)
    if hue_turns:
        _turn_hue(red, green, blue, hue)


def _luma(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    weights = GREY.tolist()
    luma: Tensor = red * weights[0]
    return luma.add_(green, alpha=weights[1]).add_(blue, alpha=weights[2])


def _turn_hue(red: Tensor, green: Tensor, blue: Tensor, hue: Tensor) -> None:
    """Turn hue in HSV, in place; value and saturation, so the extremes of a pixel, stay."""
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    safe = chroma.clamp(min=1e-6)  # the hue of grey does not matter
    sixth = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    ).add_(6 * hue)
    for plane, start in ((red, 5), (green, 3), (blue, 1)):
        # The plane's distance from the value: 0 over a third of the circle, all of chroma over
        # another, linear in between.
        place = (sixth + start).remainder_(6)
        distance = torch.minimum(place, 4 - place).clamp_(0, 1)
        torch.addcmul(value, distance, chroma, value=-1, out=plane)
