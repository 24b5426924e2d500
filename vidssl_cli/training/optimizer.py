"""Optimizers and learning-rate schedules from a recipe."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from vidssl_cli.config.sections import SGD, AdamW, Constant, Cosine, MultiStep, Step

if TYPE_CHECKING:
    from torch.optim import Optimizer


def build_optimizer(module: nn.Module, options: SGD | AdamW) -> Optimizer:
    """Build the optimizer over the trainable parameters, with weight decay for those it is for.

    On a GPU one kernel updates many parameters at once.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            vector = parameter.ndim <= 1
            (spared if vector and options.decay == "weights" else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": options.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    # None leaves it to torch, which takes several kernels on a GPU; on a CPU results would differ.
    fused = all(parameter.is_cuda for parameter in (*decayed, *spared)) or None
    if isinstance(options, SGD):
        return torch.optim.SGD(
            groups,
            lr=options.lr,
            momentum=options.momentum,
            nesterov=options.nesterov,
            fused=fused,
        )
    return torch.optim.AdamW(
        groups, lr=options.lr, betas=options.betas, eps=options.eps, fused=fused
    )


Schedules = Constant | Step | MultiStep | Cosine


def why_epochs_matter(schedule: Schedules) -> str | None:
    """Say why the learning rate of a step depends on the number of epochs; None if it does not."""
    if isinstance(schedule, Cosine):
        return "its learning rate falls along a cosine to the last epoch"
    if schedule.warmup:
        return "its learning rate rises over a share of all epochs, train.schedule.warmup"
    return None


def lr_factor(schedule: Schedules, step: int, steps_per_epoch: int, epochs: int) -> float:
    """Return the factor on the learning rate at a step, counted from 0 over the whole run.

    Warm-up rises linearly and reaches 1 with its last step; the schedule counts from step 0 all
    the while, except that a cosine falls over the steps that remain after warm-up.
    """
    total = steps_per_epoch * epochs
    warmup = round(schedule.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    epoch = step // steps_per_epoch
    match schedule:
        case Constant():
            return 1.0
        case Step():
            begun = max((start for start in schedule.restarts if start <= epoch), default=0)
            return float(schedule.gamma ** ((epoch - begun) // schedule.every))
        case MultiStep():
            return float(schedule.gamma ** sum(epoch >= start for start in schedule.epochs))
        case Cosine():
            share = (step - warmup) / max(total - warmup, 1)
            return schedule.final + (1 - schedule.final) * (1 + math.cos(math.pi * share)) / 2
