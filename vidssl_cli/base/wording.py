"""Words for counts in messages."""

from __future__ import annotations

from collections.abc import Mapping


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return a count with what it counts: `1 video`, `2 videos`; `1 class has`, `2 classes have`.

    Args:
        count: How many.
        one: What follows 1.
        several: What follows other counts; ``one`` with an s if None.
    """
    return f"{count} {one if count == 1 else several or f'{one}s'}"


def share(count: int, total: int, thing: str, one: str = "", several: str = "") -> str:
    """Return a part of a number with its verb: `1 of 4 videos has`, `2 of 4 videos have`."""
    return f"{count} of {counted(total, thing)} {one if count == 1 else several}".rstrip()


def by_kind(counts: Mapping[str, int]) -> str:
    """Return counts by kind, the largest first: `.txt 3, .srt 2`."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{kind} {count}" for kind, count in most_first)
