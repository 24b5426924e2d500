"""Words for counts and times in messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


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


def duration(seconds: float) -> str:
    """Return a time as a clock shows it: `0:07`, `12:30`, `1:02:03`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def fitted(parts: Sequence[str], width: int) -> str:
    """Join parts of a line by two spaces, from the first to the last that has room in the width."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if len(longer) > width:
            break
        line = longer
    return line
