"""The device that a network runs on."""

from __future__ import annotations

import torch
from torch import nn

from vidssl_cli.base.errors import UsageError
from vidssl_cli.model.devices_cpu import keep_freed_memory, pad_short_clips


def place(module: nn.Module, device: torch.device) -> None:
    """Move a module, and prepare the process to compute with it.

    Weights of 3-D convolutions go into the layout that computes fastest.
    """
    keep_freed_memory()
    if device.type == "cpu":
        pad_short_clips(module)
    module.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes a GPU where there is one.

    Raises:
        UsageError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"there is no device {name!r}", where="--device", hint="use auto, cpu, cuda or cuda:1"
        ) from None
    if device.type not in {"cpu", "cuda"}:
        raise UsageError(f"{name} devices are not supported", where="--device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"{name} was asked for, but torch sees {torch.cuda.device_count()} GPUs",
            where="--device",
            hint="`vidssl doctor` says what this machine can do",
        )
    return device
