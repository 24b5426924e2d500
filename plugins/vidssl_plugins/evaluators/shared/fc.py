"""New layers on frozen features; fully connected ones are Jenni, Meishvili and Favaro's (2020)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from vidssl_plugins.evaluators.options.shared import FC, Training

Predictor = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From features (M, D) to probabilities (M, K)."""
Learn = Callable[[NDArray[np.float32], NDArray[np.int64]], Predictor]
"""Trains new layers on features (N, D) and classes (N,)."""

FINAL = 1e-3
"""Share of the learning rate that is left at the end (their code)."""
BETAS = (0.9, 0.99)
"""Of AdamW (their code)."""
MOMENTUM, EPS = 0.025, 1e-3
"""Of batch norm (their code, which says decay .975)."""
AT_ONCE = 1 << 24
"""Bounds the numbers that are predicted from at a time."""


def train_fc(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    fc: FC,
    *,
    classes: int,
    device: str | torch.device = "cpu",
) -> Predictor:
    """Train new fully connected layers to classify frozen features; see `train_layers`.

    Args:
        features: (N, D).
        targets: (N,) classes from 0 to K - 1.
        fc: The layers, and how they are trained.
        classes: K.
        device: Where to train.
    """
    widths = [features.shape[1], *fc.hidden]
    build = partial(_layers, widths, classes, fc.norm)
    return train_layers(features, targets, build, fc, device=device)


def train_layers(
    features: NDArray[np.float32],
    targets: NDArray[np.int64],
    build: Callable[[], nn.Module],
    how: Training,
    *,
    device: str | torch.device = "cpu",
) -> Predictor:
    """Train new layers to classify frozen features, by cross entropy.

    The learning rate of AdamW falls to a thousandth along a cosine. A step has at least
    ``how.batch`` features, or all if there are fewer. The same seed gives the same layers.

    Args:
        features: (N, D).
        targets: (N,) classes from 0 to K - 1.
        build: Builds the layers, which map (N, D) to (N, K).
        how: How they are trained.
        device: Where to train.

    Raises:
        ValueError: There are fewer than two features.
    """
    if len(features) < 2:
        raise ValueError(f"cannot train on {len(features)} features")
    random = torch.Generator().manual_seed(how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        network = build().to(device)
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(targets).to(device)
    steps = max(len(x) // how.batch, 1)
    optimizer = _optimizer(network, how.lr, how.weight_decay)
    schedule = CosineAnnealingLR(optimizer, steps * how.epochs, eta_min=FINAL * how.lr)
    for _ in range(how.epochs):
        for rows in torch.randperm(len(x), generator=random).to(device).tensor_split(steps):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval()

    @torch.inference_mode()
    def predict(others: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = torch.split(torch.from_numpy(others), max(1, AT_ONCE // others.shape[1]))
        scores = torch.cat([network(part.to(device)) for part in parts])
        probabilities: NDArray[np.float32] = scores.softmax(-1).cpu().numpy()
        return probabilities

    return predict


def classify_clips(
    train: Sequence[NDArray[np.float32]],
    targets: NDArray[np.int64],
    test: Sequence[NDArray[np.float32]],
    learn: Learn,
) -> list[NDArray[np.float32]]:
    """Train layers on clips (clips, D) of each video; return (clips, K) of each test video.

    Args:
        train: Of each training video.
        targets: (N,) classes of the training videos.
        test: Of each test video.
        learn: Trains the layers.
    """
    of_clips = np.repeat(targets, [len(clips) for clips in train])
    predict = learn(np.concatenate(train), of_clips)
    return [predict(clips) for clips in test]


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
