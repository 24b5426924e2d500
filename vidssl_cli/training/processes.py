"""The processes that train together: torchrun's, or one alone."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.model.devices import choose_device


@dataclass(frozen=True)
class World:
    """The processes that train together; one unless torchrun started more."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until every process has come to this point."""
        if self.size > 1:
            distributed.barrier()

    def max(self, value: int) -> int:
        """Return the largest value of all processes, so that they decide alike."""
        if self.size == 1:
            return value
        tensor = torch.tensor(value)  # on the host: nobody waits for a GPU
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return int(tensor)

    def mean(self, values: Tensor) -> list[float]:
        """Return the mean over all processes of each of the values (n,), on the host."""
        if self.size > 1:
            distributed.all_reduce(values)
            values = values / self.size
        numbers: list[float] = values.tolist()
        return numbers

    @contextmanager
    def explain_lost_process(self) -> Iterator[None]:
        """Turn torch's errors about a broken connection into one that says what happened.

        Raises:
            VidsslError: another process is gone.
        """
        try:
            yield
        except RuntimeError as error:
            # NCCL's errors have a class, those of gloo do not.
            if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
                raise
            late = re.search(r"time(d )?.?out", str(error), re.IGNORECASE)
            what = f"has not answered for {TIMEOUT.seconds // 60} minutes" if late else "is gone"
            raise VidsslError(
                f"another process of this run {what}",
                hint="its last message, or torchrun's, says why; --resume goes on from the last "
                "checkpoint",
            ) from error


TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others, which may be writing a checkpoint to a slow disk."""


BOTH = "cpu:gloo,cuda:nccl"
"""How processes with GPUs talk: numbers of the host need not pass through a GPU."""


def join(backend: str, **meeting: Any) -> None:
    """Join the processes of a run, by ``torch.distributed.init_process_group``."""
    # DDP imports this. Once there is a group, default arguments in there would hold on to it beyond
    # its end, and its threads, left to the end of the interpreter, now and then abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    distributed.init_process_group(backend, timeout=TIMEOUT, **meeting)


TORCHRUN = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What it tells each process besides their number, by environment variables."""


@contextmanager
def open_world(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, if it did; leave them at the end.

    Raises:
        UsageError: there is no such device, or none for this process, or torchrun did not start it.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        yield World(0, 1, chosen)
        return
    if missing := [name for name in TORCHRUN if name not in os.environ]:
        raise UsageError(
            f"WORLD_SIZE is {size}, but not {', '.join(missing)}",
            hint="start several processes with torchrun, or unset WORLD_SIZE for one",
        )
    if chosen.type == "cuda":
        chosen = _own_gpu(int(os.environ["LOCAL_RANK"]))
        join(BOTH, device_id=chosen)
    else:
        join("gloo")
    try:
        world = World(distributed.get_rank(), size, chosen)
        with world.explain_lost_process():
            yield world
            distributed.barrier()  # leaving early would break the connections of the others
    finally:
        distributed.destroy_process_group()


def _own_gpu(number: int) -> torch.device:
    """Take the GPU of the process of that number on this machine.

    Raises:
        UsageError: there are fewer GPUs.
    """
    if number >= (count := torch.cuda.device_count()):
        raise UsageError(
            f"process {number + 1} of this machine has no GPU: torch sees {count}",
            hint=f"torchrun --nproc-per-node {count}, or --device cpu",
        )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device
