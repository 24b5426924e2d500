"""Networks that a GPU cannot train the same way each time (``train.deterministic``).

torch refuses an operation without a deterministic version when it comes to it, which is in the
first step. This finds those of a network before.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vidssl_cli.base.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

UNDETERMINED = {
    "avg_pool3d_backward": "AvgPool3d",
    "_adaptive_avg_pool2d_backward": "AdaptiveAvgPool2d",
    "_adaptive_avg_pool3d_backward": "AdaptiveAvgPool3d",
    "adaptive_max_pool2d_backward": "AdaptiveMaxPool2d",
    "adaptive_max_pool3d_backward": "AdaptiveMaxPool3d",
    "fractional_max_pool2d_backward": "FractionalMaxPool2d",
    "fractional_max_pool3d_backward": "FractionalMaxPool3d",
    "max_pool3d_with_indices_backward": "MaxPool3d",
    "max_unpool2d": "MaxUnpool2d",
    "max_unpool3d": "MaxUnpool3d",
    "reflection_pad1d_backward": "ReflectionPad1d",
    "reflection_pad2d_backward": "ReflectionPad2d",
    "reflection_pad3d_backward": "ReflectionPad3d",
    "grid_sampler_2d_backward": "grid_sample",
    "grid_sampler_3d_backward": "grid_sample",
    "upsample_linear1d_backward": "interpolate",
    "upsample_bilinear2d_backward": "interpolate",
    "upsample_bicubic2d_backward": "interpolate",
    "upsample_trilinear3d_backward": "interpolate",
}
"""What torch has only in versions that add in any order on CUDA: operations, and what is written in
a network. The documentation of `torch.use_deterministic_algorithms` lists them."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: dict[str, None] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[func._schema.name.partition("::")[2]] = None
        return func(*args, **(kwargs or {}))


def require_determinism(network: nn.Module, clip: tuple[int, ...]) -> None:
    """Refuse a network that a GPU cannot train the same way each time.

    Args:
        network: a backbone on the CPU; it is not changed.
        clip: (C, T, H, W).

    Raises:
        UsageError: it has layers without a deterministic version.
    """
    if found := undetermined(network, clip):
        raise UsageError(
            f"train.deterministic: torch {torch.__version__} has no deterministic "
            f"{' and '.join(found)} on GPUs",
            where="train.deterministic",
            hint="set it to false, choose another backbone, or give --device cpu",
        )


def undetermined(network: nn.Module, clip: tuple[int, ...]) -> list[str]:
    """Return the layers whose training has no deterministic version on CUDA.

    Nothing is computed: shapes pass through the network. One that needs values gives none.
    """
    shapes = copy.deepcopy(network).to("meta").train()
    with _Watch() as watch:
        try:
            features = shapes(torch.empty(2, *clip, device="meta"))["feat"]
            features.sum().backward()
        except (NotImplementedError, RuntimeError):  # torch itself refuses in the first step
            return []
    named = [UNDETERMINED[name] for name in watch.names if name in UNDETERMINED]
    return [name for name in dict.fromkeys(named) if not _became_deterministic(name)]


def _became_deterministic(layer: str) -> bool:
    """Whether this torch says that a layer is deterministic on request; older ones did not."""
    told, _, _ = str(torch.use_deterministic_algorithms.__doc__).partition("will throw a")
    return f".{layer}`" in told
