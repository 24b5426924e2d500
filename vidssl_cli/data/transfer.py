"""From the host to the device without waiting: one copy of many arrays, and a stream of its own.

A copy from memory that is not pinned makes the host wait until the device has done all its work,
and each one costs the host as much as a small kernel. On a CPU nothing is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.contract.clips import Batch

_ALIGNED = 16
"""Bytes; every array begins at a multiple of them, whatever its numbers are."""


def send(arrays: Sequence[NDArray[Any]], device: torch.device) -> list[Tensor]:
    """Return arrays as tensors on a device, for which they share one buffer and one copy."""
    whole = [np.ascontiguousarray(array).reshape(array.shape) for array in arrays]
    hosted = [torch.from_numpy(array) for array in whole]
    if device.type == "cpu":
        return hosted
    ends = np.cumsum([-(-array.nbytes // _ALIGNED) * _ALIGNED for array in whole]).tolist()
    starts = [0, *ends]
    buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=True)
    filled = buffer.numpy()
    for start, array in zip(starts, whole, strict=False):
        filled[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    there = buffer.to(device, non_blocking=True)
    return [
        there[start : start + array.nbytes].view(tensor.dtype).view(tensor.shape)
        for start, array, tensor in zip(starts, whole, hosted, strict=False)
    ]


def send_frames(clips: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return clips of several videos, each (V, T, C, H, W), as one tensor (N, T, C, H, W).

    Where their sizes differ, H and W are the largest, and 0 surrounds the others to the right and
    below.
    """
    sizes = {tuple(part.shape[1:]) for part in clips}
    shape = (sum(map(len, clips)), *(max(lengths) for lengths in zip(*sizes, strict=True)))
    make = torch.empty if len(sizes) == 1 else torch.zeros
    buffer = make(shape, dtype=clips[0].dtype, pin_memory=device.type == "cuda")
    first = 0
    for part in clips:
        height, width = part.shape[-2:]
        buffer[first : first + len(part), ..., :height, :width] = part
        first += len(part)
    return buffer.to(device, non_blocking=True)


class SideStream:
    """Where one thread makes batches while another trains: a CUDA stream, or nothing on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def make(self, make: Callable[[], Batch]) -> Callable[[], Batch]:
        """Make a batch; whoever uses it calls what is returned, in the thread that uses it.

        The thread goes on at once, and only its stream waits for the batch.
        """
        if self._stream is None:
            batch = make()
            return lambda: batch
        with torch.cuda.stream(self._stream):
            batch = make()
            done = self._stream.record_event()

        def arrive() -> Batch:
            user = torch.cuda.current_stream(self._device)
            user.wait_event(done)
            for tensor in batch.tensors():
                tensor.record_stream(user)  # or its memory would be taken again too early
            return batch

        return arrive
