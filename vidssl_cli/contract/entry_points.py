"""Finds the entry points of installed packages, also where some packages are damaged.

`importlib.metadata.entry_points` fails for all packages where one has files that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

OURS = "vidssl"
"""Vidssl's own distribution, and the group of entry points under which plugins are found."""
DISABLE = "VIDSSL_DISABLE_PLUGINS"
"""Environment variable that switches plugins off."""
OTHERS = "*"
"""Its value for all packages but vidssl itself."""


def find_entries() -> tuple[list[EntryPoint], Mapping[str, str]]:
    """Return the entry points of all packages, and why those of some packages cannot be read."""
    entries: list[EntryPoint] = []
    unreadable: dict[str, str] = {}
    for dist in _first_of_each():
        try:
            entries += dist.entry_points.select(group=OURS)
        except Exception as error:  # not text, or not a list of entry points
            reason = f"{type(error).__name__}: {error}"
            unreadable[_name(dist)] = f"its entry_points.txt cannot be read: {reason}"
    return entries, unreadable


def package_of(entry: EntryPoint) -> str:
    """Return the distribution that an entry point is of, as pip names it."""
    return _name(entry.dist) if entry.dist else entry.value


def _first_of_each() -> Iterator[Distribution]:
    """Yield every distribution once: the one that is imported, where it is in several places."""
    seen = set()
    for dist in distributions():
        if (stem := _stem(dist)) not in seen:
            seen.add(stem)
            yield dist


def _name(dist: Distribution) -> str:
    """Return what METADATA says, or the folder where it is missing or damaged."""
    try:
        name: str | None = dist.name
    except Exception:
        name = None
    return name or _stem(dist)


def _stem(dist: Distribution) -> str:
    """Return the name that the folder of a distribution begins with; no file is read."""
    folder = getattr(dist, "_path", None)  # only Python's own finder has it
    return Path(str(folder)).stem.partition("-")[0].lower() if folder else dist.name
