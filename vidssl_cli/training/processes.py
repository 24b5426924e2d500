"""The processes that train together: torchrun's, or one alone."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from vidssl_cli.base.errors import VidsslError
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
        tensor = torch.tensor(value, device=self.device)
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
            raise VidsslError(
                "another process of this run is gone",
                hint="its last message, or torchrun's, says why; --resume goes on from the last "
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
        with world.explain_lost_process():
            yield world
            distributed.barrier()  # leaving early would break the connections of the others
    finally:
        distributed.destroy_process_group()
