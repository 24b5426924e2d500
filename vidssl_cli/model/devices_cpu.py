"""What training on a CPU needs: correct bf16 convolutions, and memory that is not given back.

oneDNN's bf16 weight gradient is wrong, and writes past its buffers, when a clip has fewer frames,
rows or columns than the kernel and the missing ones come from padding: seen with torch 2.13 on
AVX512-BF16, for kernel 3 over 2 frames, which is the last stage of every 18-layer network on
16-frame clips, and for kernel 3 with stride 2 over one row, the last stage on very small pictures.
Padding the clip beforehand is the same convolution, by code that is correct.
tests/model/test_devices_cpu.py compares every such case with double precision.
"""

from __future__ import annotations

import ctypes

import torch.nn.functional as F
from torch import Tensor, nn

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3


class PrePadded(nn.Conv3d):
    """A 3-D convolution that pads short clips itself."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, T, H, W)."""
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super().forward(input)
        extents = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        sizes = zip(input.shape[-3:], extents, self.padding, strict=True)
        before = [pad if size < extent else 0 for size, extent, pad in sizes]
        if not any(before):
            return super().forward(input)
        padded = F.pad(input, [pad for pad in reversed(before) for _ in range(2)])
        rest = [pad - done for pad, done in zip(self.padding, before, strict=True)]
        return F.conv3d(
            padded, self.weight, self.bias, self.stride, rest, self.dilation, self.groups
        )


def pad_short_clips(network: nn.Module) -> None:
    """Turn every 3-D convolution of a network into one that pads short clips itself.

    The class changes and nothing else, so that weights, names and copies stay what they are.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = PrePadded


def keep_freed_memory() -> None:
    """Let this process reuse the memory that it frees, where the C library is glibc.

    Every batch takes the same large blocks. By default glibc gets each from the system and gives it
    back, and touching new pages takes longer than the arithmetic on them. The process stays at its
    peak size.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, -1)
