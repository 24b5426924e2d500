"""A 3-D convolution whose gradient is right in bf16 on every CPU."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that pads time itself where the input is shorter than the kernel.

    There oneDNN's weight gradient is garbage in bf16 (3.12, the ``avx512_core_bf16`` kernel, so
    on CPUs that have AVX-512 bf16 but no AMX; NaN or silently wrong). 16-frame clips in a network
    that halves time three times are such a case: conv5 sees 2 frames.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map (N, C, T, H, W) as `nn.Conv3d` does."""
        assert not isinstance(self.padding, str)
        time, *space = self.padding
        if not time or input.shape[2] >= self.kernel_size[0]:
            return super().forward(input)
        padded = F.pad(input, (0, 0, 0, 0, time, time))
        return F.conv3d(
            padded, self.weight, self.bias, self.stride, (0, *space), self.dilation, self.groups
        )
