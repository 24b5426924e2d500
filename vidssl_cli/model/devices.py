"""Which device, which precision, which process: what a command runs on."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed, nn

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.model.devices_cpu import keep_freed_memory, pad_short_clips


@dataclass(frozen=True)
class World:
    """The processes that train together; one unless torchrun started more."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come to this point."""
        if self.size > 1:
            distributed.barrier()

    def any(self, flag: int) -> int:
        """Return the largest flag of all processes, so that they agree."""
        if self.size == 1:
            return flag
        value = torch.tensor(flag, device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return int(value)

    def mean(self, values: dict[str, float]) -> dict[str, float]:
        """Return the mean over all processes of each value."""
        if self.size == 1:
            return values
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return dict(zip(values, (total / self.size).tolist(), strict=True))

    @contextmanager
    def unbroken(self) -> Iterator[None]:
        """While entered, say in plain words that another process is gone.

        Raises:
            VidsslError: the connection to one broke.
        """
        try:
            yield
        except RuntimeError as error:
            # NCCL's errors have a class, those of gloo do not.
            if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
                raise
            raise VidsslError(
                "another process of this run is gone",
                hint="what it said last, or torchrun, tells why; --resume goes on from the last "
                "checkpoint",
            ) from error


def join(backend: str, **meeting: Any) -> None:
    """Join the processes of a run, by ``torch.distributed.init_process_group``."""
    # DDP imports this. Once there is a group, default arguments in there would hold on to it beyond
    # its end, and its threads, left to the end of the interpreter, now and then abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group(backend, **meeting)


@contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, if it did; leave them at the end."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        yield World(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    join("nccl" if chosen.type == "cuda" else "gloo")
    try:
        world = World(distributed.get_rank(), size, chosen)
        with world.unbroken():
            yield world
            distributed.barrier()  # whoever leaves early breaks the connections of the others
    finally:
        distributed.destroy_process_group()


def place(module: nn.Module, device: torch.device) -> None:
    """Move a module, and make the process ready to compute with it.

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
