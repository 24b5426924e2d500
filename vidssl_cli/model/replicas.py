"""Several videos in a network at a time: on every GPU, and two on each.

While a thread waits for what a GPU computes, another has given it the next video. Threads are
enough: a network only reads its weights here, and decoding, the larger part of the work, goes on in
threads of this process whatever computes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Protocol, TypeVar

import torch


class Placed(Protocol):
    """A network on a device."""

    device: torch.device


Network = TypeVar("Network", bound=Placed)
Item = TypeVar("Item")
Result = TypeVar("Result")

_AT_ONCE = 2
"""Videos that are on a GPU at a time."""


def every_gpu() -> list[torch.device]:
    """Return the GPUs that this process sees."""
    return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]


def spread(
    networks: Sequence[Network],
    compute: Callable[[Network, Item], Result],
    items: Iterator[Item],
) -> Iterator[Result]:
    """Yield what is computed of each item, in their order.

    Args:
        networks: Copies of one, each on a device of its own.
        compute: Takes a network and an item.
        items: Taken in the caller's thread, some ahead of what is yielded.
    """
    first, *others = networks
    if first.device.type == "cpu" and not others:
        yield from (compute(first, item) for item in items)
        return
    own = threading.local()
    left: SimpleQueue[Network] = SimpleQueue()
    for network in networks:
        for _ in range(_AT_ONCE if network.device.type == "cuda" else 1):
            left.put(network)
    threads = left.qsize()

    def run(item: Item) -> Result:
        if not hasattr(own, "network"):
            own.network = left.get()
            own.stream = _stream(own.network.device)
        with torch.cuda.stream(own.stream) if own.stream else nullcontext():
            return compute(own.network, item)

    pool = ThreadPoolExecutor(threads, "network")
    coming: deque[Future[Result]] = deque()
    try:
        for item in items:
            coming.append(pool.submit(run, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """Return a stream for one thread, which begins after the weights are there; None on a CPU."""
    if device.type != "cuda":
        return None
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_event(torch.cuda.current_stream(device).record_event())
    return stream
