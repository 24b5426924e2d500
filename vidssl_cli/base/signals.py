"""Stops a command on SIGTERM, SIGUSR1, SIGHUP and Ctrl-C where that is safe.

Most commands stop at once, by the exception `Stopped`, since files appear whole or not at all;
training stops between two steps, with a checkpoint.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self, TypeVar

from vidssl_cli.base.errors import Interrupted, Preempted, VidsslError

T = TypeVar("T")

WATCHED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)

AGAIN = 1.0
"""Seconds until another Ctrl-C counts: launchers may pass on the first one twice."""

PARENT = "VIDSSL_PARENT"
"""Environment variable of a command: the process with which it ends."""


def watch(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Install a handler for the signals that stop a command; return the previous handlers."""
    return {
        number: signal.signal(number, handler)
        for number in WATCHED
        # nohup ignores SIGHUP.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }


class Stopped(BaseException):
    """A signal arrived; like KeyboardInterrupt, no `Exception`, so that nothing catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        """Number of the signal."""


class StopSignals:
    """While entered, records the first signal; a second Ctrl-C raises KeyboardInterrupt.

    Args:
        notice: Said on stderr at once where the work goes on until it is safe to stop.
    """

    def __init__(self, notice: str = "") -> None:
        self._notice = notice
        self.received = 0
        """The number of the signal that arrived first, or 0."""
        self._since = 0.0
        self._at_once = False

    def __enter__(self) -> Self:
        self._before = watch(self._record)
        return self

    def __exit__(self, *raised: object) -> None:
        # Once stopped, another signal must not change the exit status.
        stopped = self.received and any(raised)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if stopped else handler)

    def ignore(self) -> None:
        """Ignore signals from now on: the command is done, and its exit status is known."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._before = dict.fromkeys(self._before, signal.SIG_IGN)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, raise `Stopped` on a signal, also on one that was recorded before."""
        self._at_once = True
        try:
            if self.received:
                raise Stopped(self.received)
            yield
        finally:
            self._at_once = False

    def until(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal arrives; it also interrupts the wait for the next item."""
        iterator = iter(items)
        with suppress(StopIteration, Stopped):
            while True:
                with self.at_once():
                    item = next(iterator)
                yield item

    def _record(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received and number == signal.SIGINT and now - self._since >= AGAIN:
            raise KeyboardInterrupt
        first = not self.received
        if first:
            self.received, self._since = number, now
        if self._at_once:
            self._at_once = False  # the next signal does not interrupt the cleaning up
            raise Stopped(self.received)
        if first and self._notice:
            with suppress(OSError):  # past Python's streams, which the handler may interrupt
                os.write(2, self._notice.encode())


def stopped(
    number: int, what: str = "", hint: str | None = "run the same command with --resume to go on"
) -> VidsslError:
    """Return the error that ends a command after a signal, once its state is safe on disk."""
    kind = Interrupted if number == signal.SIGINT else Preempted
    return kind(f"stopped by {signal.Signals(number).name} {what}".strip(), hint=hint)


def follow_parent() -> None:
    """Have the system send SIGTERM to this process when its parent dies.

    That is for processes of torchrun and of a sweep, which would else go on alone.
    """
    parent = os.environ.get(PARENT)
    if parent != str(os.getppid()) and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    import ctypes

    pr_set_pdeathsig = 1
    with suppress(AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
