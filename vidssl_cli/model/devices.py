"""The device that a network runs on."""

from __future__ import annotations

import os

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


def prepare_arithmetic(device: torch.device, *, deterministic: bool) -> None:
    """Say how a GPU computes; a CPU always computes the same way.

    In float32, convolutions use TF32 where the GPU has it, and matrix products, those of heads and
    losses, do not.

    Args:
        device: that is used.
        deterministic: take only algorithms that give the same bits each time. Otherwise cuDNN times
            its algorithms at first, and takes the fastest.
    """
    if device.type != "cuda":
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS is first used
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic)


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
