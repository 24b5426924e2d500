"""Decoding on NVIDIA's GPUs, by torchcodec.

Frames are scaled on the GPU, so that only small pictures cross to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.contract.videos import Video

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 32
"""Frames that are decoded and scaled together; those of large videos would fill the GPU."""


class NvdecDecoder:
    """Reads frames of video files."""

    def __init__(self, device: str) -> None:
        """Find torchcodec.

        Raises:
            UsageError: The device is no GPU.
            VidsslError: torchcodec is not installed, or finds no FFmpeg.
        """
        if not device.startswith("cuda"):
            raise UsageError(
                f"nvdec decodes on a GPU, and this computes on {device}",
                where="--decoder",
                hint="leave out --decoder, or choose a GPU by --device",
            )
        try:
            from torchcodec.decoders import VideoDecoder
        except (ImportError, RuntimeError, OSError) as error:
            raise VidsslError(
                f"nvdec needs torchcodec, which cannot be imported: {error}".splitlines()[0],
                hint="pip install 'vidssl[nvdec]', and FFmpeg with shared libraries",
            ) from error
        self._open: Any = VideoDecoder
        self._device = device

    def __call__(
        self, video: Video, frames: Sequence[int], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Decode as `vidssl_cli.contract.hooks.Decoder` says.

        Raises:
            ValueError: The GPU does not decode this video, or counts other frames in it.
        """
        # "exact", the default, numbers frames by looking at the whole file, as a scan does.
        file = self._open(video.path, stream_index=video.track, device=self._device)
        if file.cpu_fallback:
            raise ValueError(str(file.cpu_fallback))
        if len(file) != video.frames:
            raise ValueError(f"{len(file)} frames, and not {video.frames}")
        parts = [frames[first : first + _AT_ONCE] for first in range(0, len(frames), _AT_ONCE)]
        return np.concatenate([self._scaled(file, part, size) for part in parts])

    def _scaled(self, file: Any, frames: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
        pictures = file.get_frames_at([*frames]).data
        if tuple(pictures.shape[-2:]) != size:
            pictures = F.interpolate(pictures.float(), size, mode="bilinear", antialias=True)
            pictures = pictures.round_().clamp_(0, 255).to(torch.uint8)
        found: NDArray[np.uint8] = pictures.cpu().numpy()
        return found
