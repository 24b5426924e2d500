"""Streams of the simulated GPU: a tensor that one stream has made is not yet there for another.

Every tensor knows the stream that made it, and when; whoever uses it on another stream must have
waited for an event that was recorded after that. Nothing runs at the same time: what would be a
race is refused, whether or not it would have been lost.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

RACE = "a tensor is used on another stream than made it, without waiting for an event"


@dataclass(eq=False)
class Stream:
    """A queue of operations."""

    clock: int = 0
    """Operations that it was asked for."""
    seen: dict[Stream, int] = field(default_factory=dict)
    """Operations of other streams that it waits for."""

    def record_event(self) -> Event:
        return Event(self, self.clock)

    def wait_event(self, event: Event) -> None:
        self.seen[event.stream] = max(event.clock, self.seen.get(event.stream, 0))


@dataclass(frozen=True)
class Event:
    """A moment of a stream."""

    stream: Stream
    clock: int


class Streams:
    """The streams of a device, of which each thread has a current one."""

    def __init__(self) -> None:
        self._default = Stream()
        self._known = {self._default}
        self._local = threading.local()

    def make(self, *_: Any) -> Stream:
        self._known.add(stream := Stream())
        return stream

    def current(self, *_: Any) -> Stream:
        return getattr(self._local, "stream", self._default)

    @contextlib.contextmanager
    def use(self, stream: Stream) -> Iterator[None]:
        before, self._local.stream = self.current(), stream
        try:
            yield
        finally:
            self._local.stream = before

    def ask(self, made: list[Event]) -> Event:
        """Ask the current stream for an operation on what was made; return when that will be.

        Raises:
            RuntimeError: something may not be there yet.
        """
        stream = self.current()
        for event in made:  # of a GPU that was simulated before, everything is there
            other = event.stream is not stream and event.stream in self._known
            if other and stream.seen.get(event.stream, 0) < event.clock:
                raise RuntimeError(RACE)
        stream.clock += 1
        return Event(stream, stream.clock)
