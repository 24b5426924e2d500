"""Fully connected layers on frozen features (Jenni, Meishvili and Favaro 2020, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]

FINAL = 1e-3
"""Share of the learning rate that is left at the end (their code)."""
BETAS = (0.9, 0.99)
"""Of AdamW (their code)."""
MOMENTUM, EPS = 0.025, 1e-3
"""Of batch norm (their code, which says decay .975)."""
AT_ONCE = 8192
"""Bounds the features that are predicted from at a time."""


def train_fc(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    *,
    classes: int,
    hidden: Sequence[int] = (2048, 2048),
    norm: bool = True,
    epochs: int = 50,
    batch: int = 24,
    lr: float = 5e-5,
    weight_decay: float = 1e-4,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Predictor:
    """Train new layers to tell the classes of frozen features, by cross entropy.

    Args:
        features: (N, D).
        targets: (N,) classes from 0 to K - 1.
        classes: K.
        hidden: Widths of the layers before the last, with ReLU behind each.
        norm: Whether batch norm precedes each ReLU.
        epochs: Passes over the features.
        batch: Features of a step, at least (all if N is smaller).
        lr: Learning rate of AdamW, which falls to a thousandth along a cosine.
        weight_decay: On the weights; biases and batch norm are spared.
        seed: Draws the first weights and the order; the same seed gives the same layers.
        device: Where to train.

    Returns:
        A function from (M, D) features to (M, K) probabilities.

    Raises:
        ValueError: There are fewer than two features.
    """
    if len(features) < 2:
        raise ValueError(f"cannot train on {len(features)} features")
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _layers([features.shape[1], *hidden], classes, norm).to(device)
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(targets).to(device)
    steps = max(len(x) // batch, 1)
    optimizer = _optimizer(network, lr, weight_decay)
    schedule = CosineAnnealingLR(optimizer, steps * epochs, eta_min=FINAL * lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=random).to(device).tensor_split(steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()

    @torch.inference_mode()
    def predict(others: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = torch.split(torch.from_numpy(others), AT_ONCE)
        scores = torch.cat([network(part.to(device)) for part in parts])
        probabilities: NDArray[np.float32] = scores.softmax(-1).cpu().numpy()
        return probabilities

    return predict


def _layers(widths: Sequence[int], classes: int, norm: bool) -> nn.Sequential:
    def built() -> Iterator[nn.Module]:
        for before, after in pairwise(widths):
            yield nn.Linear(before, after)
            if norm:
                yield nn.BatchNorm1d(after, eps=EPS, momentum=MOMENTUM)
            yield nn.ReLU()
        yield nn.Linear(widths[-1], classes)

    return nn.Sequential(*built())


def _optimizer(network: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    weights = [p for p in network.parameters() if p.ndim > 1]
    spared = [p for p in network.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS)
