"""Saliency: activation-based attention and guided backpropagation.

Letters: C channels, T frames, H W rows and columns of a tap, S side of the network's square.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor
    from torch.autograd.graph import Node

Time = Literal["linear", "nearest"]
"""How a map of few frames is spread over many."""
BRIGHTEST = 0.998
"""Share of the values of a picture that lie within the scale of colours, where a few stand out."""


def energy(tap: Tensor, power: float = 2) -> Tensor:
    """Return how strongly the cells of a tap (C, T, H, W) respond, (T, H, W).

    The sum over channels of ``|A|^power`` (Zagoruyko and Komodakis 2017,
    https://arxiv.org/abs/1612.03928, section 3.1).
    """
    response: Tensor = tap.float().abs().pow(power).sum(0)
    return response


def unit(values: Tensor) -> Tensor:
    """Divide by the L2 norm over all cells, as in the same paper; zeros stay."""
    length = torch.linalg.vector_norm(values)
    scaled: Tensor = values / length.clamp(min=torch.finfo(values.dtype).tiny)
    return scaled


def spread(cells: Tensor, size: tuple[int, int, int], time: Time = "linear") -> Tensor:
    """Enlarge a map (T', H', W') to ``size`` (T, H, W), bilinearly in space."""
    frames, height, width = size
    grid = cells[None, None]
    if time == "nearest":
        grid = F.interpolate(grid, (frames, *cells.shape[1:]), mode="nearest-exact")
    shape = (frames, height, width)
    return F.interpolate(grid, shape, mode="trilinear", align_corners=False)[0, 0]


def min_max(values: Tensor) -> Tensor:
    """Map values linearly to the range from 0 to 1; those that are all the same become 0."""
    low, high = values.aminmax()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)


def bounded(values: Tensor) -> Tensor:
    """Map values to the range from 0 to 1, and the very highest ones to 1.

    Unless there is nothing but those: all of them are then within the scale.
    """
    limit = float(np.quantile(values.numpy(), BRIGHTEST))
    return min_max(values.clamp(max=limit) if limit > values.min() else values)


def guided_gradient(score: Tensor, clips: Tensor) -> Tensor:
    """Propagate a score back to the clips, through ReLUs only where it raises the score.

    A ReLU passes a gradient on where its input and the gradient are both positive (Springenberg
    et al. 2015, https://arxiv.org/abs/1412.6806, section 3.4). ReLUs are found in the graph of the
    score, so that they may be modules or functions, and work in place. Other rectifiers keep
    their own gradient.

    Args:
        score: A scalar that was computed from the clips. Its graph is used up.
        clips: Of any shape, requiring a gradient.

    Returns:
        A gradient of the shape of the clips.
    """
    for node in _graph(score):
        if node.name().startswith("ReluBackward"):
            node.register_prehook(_positive)
    (gradient,) = torch.autograd.grad(score, clips)
    return gradient


def without_median(gradient: Tensor) -> NDArray[np.float32]:
    """Subtract from a gradient (C, T, H, W) the median of each frame; return absolute values.

    The median is over all channels and pixels of the frame (Jenni et al. 2020, section on guided
    backpropagation).
    """
    values = gradient.detach().float().cpu().numpy()
    median = np.median(values, axis=(0, 2, 3), keepdims=True)
    distance: NDArray[np.float32] = np.abs(values - median)
    return distance


def _positive(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(gradient.clamp(min=0) for gradient in gradients)


def _graph(score: Tensor) -> Iterator[Node]:
    """Yield every node that a score was computed by, once."""
    waiting = [score.grad_fn]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
        yield node
