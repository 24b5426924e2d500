"""Boxes that are cut from frames, and the matrices that scale and blur what is in them.

Scaling and blurring work on rows and columns apart, so that each is a matrix from the left and one
from the right: the same arithmetic on every device.
"""

from __future__ import annotations

from math import ceil, log
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.config.sections import ResizedCrop

Box = tuple[int, int, int, int]
"""Top, left, height and width."""

_ATTEMPTS = 10


def centre_box(side: int, size: tuple[int, int]) -> Box:
    """Return the square in the middle of a (height, width), rounded up and to the left."""
    return (size[0] - side) // 2, (size[1] - side) // 2, side, side


def three_boxes(side: int, size: tuple[int, int]) -> list[Box]:
    """Return three squares along the longer side of a (height, width): begin, middle and end."""
    height, width = size
    top, left, *_ = centre_box(side, size)
    if height > width:
        return [(place, left, side, side) for place in (0, top, height - side)]
    return [(top, place, side, side) for place in (0, left, width - side)]


def random_square(random: np.random.Generator, side: int, size: tuple[int, int]) -> Box:
    """Draw where in a (height, width) a square lies."""
    top, left = random.integers(0, (size[0] - side + 1, size[1] - side + 1)).tolist()
    return top, left, side, side


def random_box(random: np.random.Generator, crop: ResizedCrop, size: tuple[int, int]) -> Box:
    """Draw a box of random area and shape (Szegedy et al. 2015, section 6; torchvision's form).

    Where none of ten draws fits, it is the largest box in the middle whose shape is allowed.
    """
    height, width = size
    area = height * width * random.uniform(*crop.scale, _ATTEMPTS)
    ratio = np.exp(random.uniform(log(crop.ratio[0]), log(crop.ratio[1]), _ATTEMPTS))
    heights = np.rint(np.sqrt(area / ratio)).astype(int)
    widths = np.rint(np.sqrt(area * ratio)).astype(int)
    place = random.random(2)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    if fits.any():
        first = int(fits.argmax())
        high, wide = int(heights[first]), int(widths[first])
    else:
        shape = min(max(width / height, crop.ratio[0]), crop.ratio[1])
        high, wide = min(height, round(width / shape)), min(width, round(height * shape))
        place = np.full(2, 0.5)
    top, left = (place * (height - high + 1, width - wide + 1)).astype(int).tolist()
    return min(top, height - high), min(left, width - wide), high, wide


def resampling(length: int, side: int, sigma: float) -> NDArray[np.float32]:
    """Return the (side, length) matrix that scales a line of pixels, then blurs it.

    Args:
        length: pixels of the line.
        side: pixels of the result.
        sigma: deviation of the Gaussian in pixels of the result; 0 does not blur.
    """
    matrix = _scaling(length, side)
    if sigma:
        matrix = _blurring(side, sigma) @ matrix
    return matrix.astype(np.float32)


def _scaling(length: int, side: int) -> NDArray[np.float64]:
    """Interpolate linearly; the triangle widens where it shrinks, so that nothing aliases."""
    scale = length / side
    centres = (np.arange(side) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(scale, 1)
    weights = np.maximum(1 - distance, 0)
    matrix: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return matrix


def _blurring(side: int, sigma: float) -> NDArray[np.float64]:
    """Blur over three deviations to both sides; the border mirrors."""
    reach = min(ceil(3 * sigma), side - 1)
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / sigma) ** 2)
    places = np.abs(np.arange(side)[:, None] + steps)
    places = side - 1 - np.abs(side - 1 - places)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], places), kernel / kernel.sum())
    return matrix
