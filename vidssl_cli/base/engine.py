"""What runs one function on many items: threads of this process, or other machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Engine(Protocol):
    """Runs a function on many items."""

    def map(self, do: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Yield the result of each item, in their order, as soon as it is there."""
        ...


class Threads:
    """Threads of this process."""

    def __init__(self, workers: int) -> None:
        """Take so many."""
        self._workers = workers

    def map(self, do: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """Do as `Engine.map`; what is running when the caller stops is not waited for."""
        pool = ThreadPoolExecutor(self._workers)
        try:
            yield from pool.map(do, items)
        finally:  # also when Ctrl-C ends the wait: it is not for a file that is slow to decode
            pool.shutdown(wait=False, cancel_futures=True)
