"""What a backbone computes in: float32, or bf16 or fp16 autocast where that is faster."""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING, Literal

import torch

from vidssl_cli.model.hardware import cpu_computes_bf16, cpu_multiplies_bf16_matrices

if TYPE_CHECKING:
    from torch import Tensor, nn

Precision = Literal["fp32", "fp16", "bf16"]

DTYPES: dict[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}

TENSOR_CORES = (7, 0)
"""Compute capability from which on fp16 is several times faster than float32."""
WORTH = 1.2
"""How many times faster than float32 bf16 must be to be chosen, in spite of its rounding."""
_CLIPS = (2, 16)
"""Fewest and most clips of a measured step; what bf16 gains shows in steps that are not tiny."""
_STEP_SECONDS = 0.2
"""A step that takes less in float32 gets more clips."""
_ROUNDS = 3
"""Timed steps in each precision, at least; the first of them warms up."""
_SECONDS = 2.0
"""Further rounds are timed until so many have passed: short steps are easily disturbed."""

_measured: dict[str, Precision] = {}


def inference_precision(device: torch.device) -> Precision:
    """Return what embeddings are computed in.

    It depends on the hardware alone: timing would give other features from one time to the next.
    """
    native = _gpu_computes_bf16(device) if device.type == "cuda" else cpu_computes_bf16()
    return "bf16" if native else "fp32"


def _gpu_computes_bf16(device: torch.device) -> bool:
    """Whether a GPU, which may not be the current one, multiplies bf16 in hardware."""
    with torch.cuda.device(device):
        native: bool = torch.cuda.is_bf16_supported(including_emulation=False)
    return native


def training_precision(
    backbone: nn.Module, clip: tuple[int, ...], device: torch.device
) -> Precision:
    """Return what training is fastest in.

    GPUs of before Ampere that have tensor cores take fp16, whose loss has to be scaled. On a CPU
    without AMX it depends on the network: a training step is timed, once in a process for each
    network and shape of clips.

    Args:
        backbone: on that device; it is not changed.
        clip: (C, T, H, W).
        device: where it trains.
    """
    if device.type == "cuda" and not _gpu_computes_bf16(device):
        return "fp16" if torch.cuda.get_device_capability(device) >= TENSOR_CORES else "fp32"
    if device.type == "cuda" or cpu_multiplies_bf16_matrices():
        return inference_precision(device)
    key = f"{backbone} {clip}"
    if key not in _measured:
        _measured[key] = _time_both(backbone, clip)
    return _measured[key]


def _time_both(backbone: nn.Module, clip: tuple[int, ...]) -> Precision:
    """Time training steps on a copy of the network, in turns; return what is faster."""
    network = copy.deepcopy(backbone).train()
    compared = {name: DTYPES[name] for name in ("fp32", "bf16")}
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    with torch.random.fork_rng(devices=[]):
        count, most = _CLIPS
        clips = torch.rand(count, *clip)
        while count < most and _step_seconds(network, clips, torch.float32) < _STEP_SECONDS:
            count *= 2
            clips = torch.rand(count, *clip)
        begun = time.perf_counter()
        while len(seconds["bf16"]) < _ROUNDS or time.perf_counter() - begun < _SECONDS:
            for name, dtype in compared.items():
                seconds[name].append(_step_seconds(network, clips, dtype))
    # The least is what the machine does when nothing disturbs it.
    fp32, bf16 = (min(seconds[name][1:]) for name in ("fp32", "bf16"))
    return "bf16" if fp32 > WORTH * bf16 else "fp32"


def _step_seconds(network: nn.Module, clips: Tensor, dtype: torch.dtype) -> float:
    begun = time.perf_counter()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        features = network(clips)["feat"]
    features.float().square().mean().backward()
    return time.perf_counter() - begun
