"""Turns SIGTERM, SIGUSR1, SIGHUP and Ctrl-C into a wish to stop, and acts on it where that is safe.

A command stops at once, by `Stopped`, since files appear whole or not at all; training notes the
signal and stops between two steps, with a checkpoint.
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
"""Seconds after which Ctrl-C is a wish of its own: launchers may pass on the first one twice."""

PARENT = "VIDSSL_PARENT"
"""In the environment of a command: the process that it is not to outlive."""


def watch(handler: Callable[[int, FrameType | None], None]) -> dict[signal.Signals, Any]:
    """Have a handler called for the signals that mean to stop; return what they did before."""
    return {
        number: signal.signal(number, handler)
        for number in WATCHED
        # What nohup ignores stays ignored.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }


class Stopped(BaseException):
    """A signal arrived. Like Ctrl-C, no `Exception`: nobody goes on from it by mistake."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        """Of the signal."""


class StopSignals:
    """While entered, notes the first signal instead of dying; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.received = 0
        """The number of the signal that arrived first, or 0."""
        self._since = 0.0
        self._at_once = False

    def __enter__(self) -> Self:
        self._before = watch(self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        # Once stopped, the state is safe, and the exit status must live to say so.
        stopped = self.received and any(raised)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if stopped else handler)

    def ignore(self) -> None:
        """Let no signal change anything any more: the command is done, and its exit status too."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)
        self._before = dict.fromkeys(self._before, signal.SIG_IGN)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, end the body by `Stopped`; also for a signal that was noted before."""
        self._at_once = True
        try:
            if self.received:
                raise Stopped(self.received)
            yield
        finally:
            self._at_once = False

    def until(self, items: Iterable[T]) -> Iterator[T]:
        """Yield items until a signal arrives, which also ends the wait for the next one."""
        iterator = iter(items)
        with suppress(StopIteration, Stopped):
            while True:
                with self.at_once():
                    item = next(iterator)
                yield item

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received and number == signal.SIGINT and now - self._since >= AGAIN:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self._since = number, now
        if self._at_once:
            self._at_once = False  # what ends is not to be disturbed by the next one
            raise Stopped(self.received)


def stopped(
    number: int, what: str = "", hint: str | None = "run the same command with --resume to go on"
) -> VidsslError:
    """Return the error that ends a command after a signal, once its state is safe on disk."""
    kind = Interrupted if number == signal.SIGINT else Preempted
    return kind(f"stopped by {signal.Signals(number).name} {what}".strip(), hint=hint)


def follow_parent() -> None:
    """Have this process told to stop when the one that started it for its own sake dies.

    That is the agent of torchrun, or a sweep; without them their processes would go on unseen.
    """
    parent = os.environ.get(PARENT)
    if parent != str(os.getppid()) and "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    import ctypes

    pr_set_pdeathsig = 1
    with suppress(AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
