"""Changes of colour: how they are drawn, and the two forms in which pictures get them.

Brightness, contrast, saturation and hue come in this order. Their ``fast`` form is one affine map
for each frame: hue is a turn of chroma (YIQ), and values are clamped once, at the end. The
``exact`` form is torchvision's ColorJitter on float pictures: a clamp after every change, hue in
HSV. `benchmarks/augment.py` measures what lies between them, in time and in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.recipe import Colour

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""

NO_CHANGE = (1.0, 1.0, 1.0, 0.0)
"""Brightness, contrast, saturation and hue that leave a picture alone."""

_TO_YIQ = np.array([GREY, [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_FROM_YIQ = np.linalg.inv(_TO_YIQ)

Maps = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]


def draw_colours(random: np.random.Generator, colour: Colour, sets: int) -> Maps:
    """Draw the colours of a clip; a set is for one frame or for all.

    Returns:
        (sets, 3, 3) matrices of red, green and blue; (sets,) share of a frame's mean luma that is
        added to all three; (sets, 4) brightness, contrast, saturation and hue that are carried out
        one by one before that, which is `NO_CHANGE` in the fast form.
    """
    low, high = -np.ones(sets), np.ones(sets)
    brightness = np.maximum(1 + colour.brightness * random.uniform(low, high), 0)
    contrast = np.maximum(1 + colour.contrast * random.uniform(low, high), 0)
    saturation = np.maximum(1 + colour.saturation * random.uniform(low, high), 0)
    hue = colour.hue * random.uniform(low, high)
    mix = np.eye(3) + colour.mix * random.uniform(-1, 1, (sets, 3, 3))
    changed = random.uniform(size=sets) < colour.probability
    if colour.form == "exact":
        matrix, offset = mix, np.zeros(sets)
        steps = np.stack([brightness, contrast, saturation, hue], 1)
    else:
        matrix = mix @ affine(brightness, contrast, saturation, hue)
        offset = brightness * (1 - contrast)
        steps = np.tile(NO_CHANGE, (sets, 1))
    return (
        np.where(changed[:, None, None], matrix, np.eye(3)),
        np.where(changed, offset, 0.0),
        np.where(changed[:, None], steps, NO_CHANGE),
    )


def affine(
    brightness: NDArray[np.float64],
    contrast: NDArray[np.float64],
    saturation: NDArray[np.float64],
    hue: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the (sets, 3, 3) matrices that carry out all four, each (sets,), at once.

    That one matrix does it is because all of them leave grey on the grey axis. What contrast adds,
    brightness (1 - contrast) of the mean luma, is not in it.
    """
    angle = 2 * np.pi * hue
    turn = np.zeros((len(hue), 3, 3))
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    share = saturation[:, None, None]
    saturate = share * np.eye(3) + (1 - share) * np.ones((3, 1)) * GREY
    gain = (brightness * contrast)[:, None, None]
    matrices: NDArray[np.float64] = _FROM_YIQ @ turn @ _TO_YIQ @ saturate * gain
    return matrices


def jitter(pictures: Tensor, steps: NDArray[np.float32]) -> None:
    """Change colours in place, one change after another, as torchvision does.

    Args:
        pictures: (N, T, 3, H, W) from 0 to 255.
        steps: (N, F, 4) brightness, contrast, saturation, hue (share of a full turn from -0.5 to
            0.5); F is T, or 1 where all frames of a clip share them.
    """
    factors = torch.from_numpy(steps).to(pictures.device)[..., None, None]
    brightness, contrast, saturation, hue = factors.unbind(2)
    red, green, blue = (pictures[:, :, channel] for channel in range(3))
    pictures.mul_(brightness.unsqueeze(2)).clamp_(0, 255)
    mean = _luma(red, green, blue).mean((-2, -1), keepdim=True)
    pictures.mul_(contrast.unsqueeze(2)).add_(((1 - contrast) * mean).unsqueeze(2)).clamp_(0, 255)
    rest = _luma(red, green, blue).mul_(1 - saturation).unsqueeze(2)
    pictures.mul_(saturation.unsqueeze(2)).add_(rest).clamp_(0, 255)
    if steps[..., 3].any():
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
