"""Turns SIGTERM, SIGUSR1 and Ctrl-C into a wish to stop at the next safe moment."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Self

from vidssl_cli.errors import Interrupted, Preempted, VidsslError

_WATCHED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopSignals:
    """While entered, notes the first signal instead of dying; a second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.received = 0
        """The number of the signal that arrived, or 0."""

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _WATCHED}
        return self

    def __exit__(self, *raised: object) -> None:
        # Once stopped, the state is safe, and the exit status must live to say so.
        stopped = self.received and any(raised)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if stopped else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number


def stopped(number: int, what: str) -> VidsslError:
    """Return the error that ends a command after a signal, once its state is safe on disk."""
    kind = Interrupted if number == signal.SIGINT else Preempted
    name = signal.Signals(number).name
    return kind(f"stopped by {name} {what}", hint="run the same command with --resume to go on")
