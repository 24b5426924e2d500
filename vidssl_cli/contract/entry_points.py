"""Finds the entry points of installed packages, also where some packages are damaged.

`importlib.metadata.entry_points` fails for all packages where one has files that cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, EntryPoint, distributions, version
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


def outdated(entry: EntryPoint) -> str | None:
    """Return what a package says of the versions of vidssl it is for, if this is none of them.

    That is its requirement of vidssl, which pip leaves broken when vidssl alone is upgraded.
    """
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in (entry.dist and entry.dist.requires) or ()]
    except Exception:  # a damaged METADATA is no reason to do without the plugin
        return None
    here = version(OURS)
    for requirement in asked:
        if requirement.name.lower() == OURS and not requirement.specifier.contains(here, True):
            return f"it was written for vidssl {requirement.specifier}, and this is {here}"
    return None


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
