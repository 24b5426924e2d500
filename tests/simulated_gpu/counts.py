"""What a simulated GPU counts, by the line of vidssl that asks for it."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

Kind = Literal["waits", "launches", "copies"]
KINDS: tuple[Kind, ...] = get_args(Kind)

WATCHED = ("vidssl_cli/", "vidssl_plugins/")


def calling_line() -> str | None:
    """Return the innermost line of vidssl that runs now, such as ``vidssl_cli/data/x.py:12``."""
    frame = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        for package in WATCHED:
            if (start := path.rfind(f"/{package}")) >= 0:
                return f"{path[start + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return None


@dataclass
class Counts:
    """Host waits, kernel launches, and copies between host and device, each by its line.

    A wait is a call after which the host stands still until the device has done all its work. A
    launch is an operation that computes; views and allocations are none.
    """

    waits: Counter[str] = field(default_factory=Counter)
    launches: Counter[str] = field(default_factory=Counter)
    copies: Counter[str] = field(default_factory=Counter)
    backward: str = "elsewhere"
    """The line that asked for gradients: autograd works in a thread that knows no caller."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, kind: Kind, reason: str = "") -> None:
        """Count one; the reason tells apart what one line does."""
        line = f"{calling_line() or self.backward} {reason}".rstrip()
        with self._lock:
            getattr(self, kind)[line] += 1

    def total(self, kind: Kind) -> int:
        """Return how many there were."""
        with self._lock:
            return getattr(self, kind).total()

    def copy(self) -> Counts:
        """Return what was counted so far."""
        with self._lock:
            return Counts(*(Counter(getattr(self, kind)) for kind in KINDS))

    def __sub__(self, before: Counts) -> Counts:
        """Return what was counted since."""
        return Counts(*(getattr(self, kind) - getattr(before, kind) for kind in KINDS))
