"""How many processor cores this process may use, which may be fewer than the machine has."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

CORES = "VIDSSL_CORES"
"""Environment variable of a command that shares a machine: how many cores it takes."""


def usable_cores() -> int:
    """Return how many cores this process may use, at least 1.

    The affinity and the quotas of its control groups limit them, and what a sweep gives each of its
    jobs; processes that torchrun started on this machine share them.
    """
    # Not every system has affinities.
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    given = os.environ.get(CORES, "")
    cores = math.ceil(min(allowed or 1, quota(), int(given) if given.isdecimal() else math.inf))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def quota(root: Path = Path("/")) -> float:
    """Return the cores that control groups (version 1 or 2) allow; infinite without a limit.

    Args:
        root: of the file system, for tests.
    """
    return min((max(limit, 0.01) for limit in _limits(root)), default=math.inf)


def _limits(root: Path) -> Iterator[float]:
    """Yield the limits of the process's groups and of those that they are part of."""
    mounted = root / "sys/fs/cgroup"
    for group in _lines(root / "proc/self/cgroup"):
        _, controllers, path = group.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = mounted / controllers / path.lstrip("/")
        # In a container the path may be that of the machine, and only the top is there.
        for place in (folder, *folder.parents):
            if not place.is_relative_to(mounted):
                break
            with suppress(ValueError, IndexError):
                if controllers:
                    allowed, period = (
                        int(_lines(place / f"cpu.cfs_{name}_us")[0]) for name in ("quota", "period")
                    )
                    if allowed < 0:  # no limit
                        continue
                else:
                    allowed, period = map(int, _lines(place / "cpu.max")[0].split())
                yield allowed / period


def _lines(path: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
