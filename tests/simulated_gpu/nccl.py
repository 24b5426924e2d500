"""NCCL between the simulated GPU and another one that holds the same values.

There is no second process: what it would send is what this one has. Collectives refuse what NCCL
refuses, and DistributedDataParallel runs its own C++ on top of them.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor, distributed
from torch._C._distributed_c10d import _create_work_from_future
from torch.futures import Future
from torch.utils._python_dispatch import TorchDispatchMode

from simulated_gpu.device import CLAIMED, NAME

BACKEND = "simulated_nccl"


class _Mirrored(distributed.ProcessGroup):
    """A group of processes, all of which hold what this one holds."""

    devices: ClassVar[set[torch.device]]
    """Whose tensors it takes."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self.members = size

    def getBackendName(self) -> str:
        return BACKEND

    def allreduce(self, tensors: list[Tensor], opts: Any = None) -> Any:
        for tensor in self._taken(tensors):
            if opts.reduceOp == distributed.ReduceOp.SUM:
                tensor.mul_(self.members)
        return _done(tensors)

    def allgather(
        self, outputs: list[list[Tensor]], tensors: list[Tensor], opts: Any = None
    ) -> Any:
        for parts, tensor in zip(outputs, self._taken(tensors), strict=True):
            for part in self._taken(parts):
                part.copy_(tensor)
        return _done(outputs)

    def broadcast(self, tensors: list[Tensor], opts: Any = None) -> Any:
        return _done(self._taken(tensors))

    def barrier(self, opts: Any = None) -> Any:
        return _done([])

    def _taken(self, tensors: list[Tensor]) -> list[Tensor]:
        """Refuse what NCCL refuses, and tensors of the host unless Gloo is there for them.

        Raises:
            RuntimeError, ValueError: in the words of torch.
        """
        for tensor in tensors:
            if tensor.device not in self.devices:
                raise RuntimeError("No backend type associated with device type cpu")
            if not tensor.is_contiguous():
                raise ValueError("Tensors must be contiguous")
        return tensors


def _done(result: Any) -> Any:
    future: Future[Any] = Future()
    future.set_result(result)
    return _create_work_from_future(future)


distributed.Backend.register_backend(
    BACKEND, lambda _, rank, size, __: _Mirrored(rank, size), devices=[NAME, "cpu"]
)


class _Unpinned(TorchDispatchMode):
    """Gives the C++ of DistributedDataParallel, which asks for pinned memory, what there is."""

    def __torch_dispatch__(self, func, _, args=(), kwargs=None):
        if func is torch.ops.aten.is_pinned.default:
            return True
        return func(*args, **{k: v for k, v in (kwargs or {}).items() if k != "pin_memory"})


@contextlib.contextmanager
def two_processes() -> Iterator[None]:
    """Be the first of two processes that torchrun started, each with a simulated GPU."""
    begin = distributed.init_process_group

    def init_process_group(backend: str, *, device_id: torch.device, **_: Any) -> None:
        assert backend in ("nccl", "cpu:gloo,cuda:nccl"), f"{backend} is no backend for GPUs"
        assert device_id == CLAIMED
        hosts = {torch.device("cpu")} if "gloo" in backend else set()
        _Mirrored.devices = {CLAIMED, *hosts}
        begin(BACKEND, store=distributed.HashStore(), rank=0, world_size=2)

    environment = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    environment |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch.object(distributed, "init_process_group", init_process_group),
        mock.patch.object(sys, "excepthook", sys.excepthook),  # which a group replaces
        _Unpinned(),
    ):
        yield
