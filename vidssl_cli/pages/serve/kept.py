"""What was made for the page and may be asked for again, in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock


class Kept:
    """Bytes by key; those that were not asked for longest go first."""

    def __init__(self, most: int) -> None:
        """Keep at most so many bytes."""
        self._most, self._size = most, 0
        self._found: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """Return what has a key; make it where there is none, once for all that wait for it."""
        with self._lock:
            if (found := self._found.get(key)) is not None:
                self._found.move_to_end(key)
                return found
            making = self._making.setdefault(key, Lock())
        with making:
            with self._lock:
                if (found := self._found.get(key)) is not None:
                    return found
            try:
                made = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            with self._lock:
                if key not in self._found:
                    self._found[key] = made
                    self._size += len(made)
                while self._size > self._most:
                    self._size -= len(self._found.popitem(last=False)[1])
            return made
