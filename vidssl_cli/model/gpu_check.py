"""Whether a GPU computes what the CPU does."""

from __future__ import annotations

import torch

from vidssl_cli.model.precision import DTYPES, inference_precision


def convolution_error(number: int) -> tuple[str, float]:
    """Convolve a clip in the precision that embeds on a GPU.

    Returns:
        The precision, and the largest difference to the CPU in float32 as a share of the largest
        value.

    Raises:
        RuntimeError: The GPU cannot compute it.
    """
    device = torch.device("cuda", number)
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Conv3d(3, 16, 3, padding=1)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    clip = torch.randn(2, 3, 8, 32, 32, generator=generator)
    precision = inference_precision(device)
    dtype = DTYPES[precision]
    with torch.no_grad():
        expected = layer(clip)
        layer.to(device)
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            found = layer(clip.to(device)).float().cpu()
    return precision, float((found - expected).abs().max() / expected.abs().max())
