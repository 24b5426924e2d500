"""When each frame of a video is shown, from timestamps as real files have them.

Seconds count from the first frame. Timestamps are in the order of the decoded frames, in ticks of
the container. Three oddities are put right:

- XviD's B-frames have timestamps out of order: neighbours are sorted.
- Joined recordings jump, forwards or back: a jump counts as one usual step.
- Missing timestamps, and those one tick apart, tell nothing: frames follow at the declared rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.wording import counted
from vidssl_cli.contract.videos import FASTEST, SLOWEST

CUSTOMARY = 25.0
"""Frames per second of a file that does not say."""

_JUMP_SECONDS, _JUMP_STEPS = 10, 10
"""A step is a jump if it is longer than so many seconds and so many usual steps; anything shorter
may be a picture that stood still."""
_REORDERED = 16
"""Usual steps by which a timestamp may lie before the last one; no codec reorders further."""
_TOLERANCE = 1 / 4
"""Usual steps by which the times of frames may differ from those that are kept."""
_MOST_KNOTS = 4096
"""Of the table of one video; the tolerance grows where more would be needed."""


@dataclass(frozen=True)
class Timeline:
    """The times of a video; see the keys of `Video` with these names."""

    timing: str
    fps: float
    duration: float
    times: tuple[tuple[int, float], ...] = ()
    problem: str = ""
    """What is odd, if anything is."""


def read_timeline(timestamps: Sequence[int | None], tick: float, declared: float) -> Timeline:
    """Understand timestamps.

    Args:
        timestamps: of every frame, one at least; None where it has none.
        tick: seconds.
        declared: frames per second by the header, 0 if it does not say.
    """
    count = len(timestamps)
    stated = declared if SLOWEST <= declared <= FASTEST else CUSTOMARY
    known = [timestamp for timestamp in timestamps if timestamp is not None]
    if len(known) < count:
        return Timeline("missing", stated, count / stated)
    raw = np.array([timestamp - known[0] for timestamp in known], np.float64)
    steps = np.diff(raw)
    if not len(steps):
        return Timeline("steady", stated, 1 / stated)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else 0.0
    jumps = (steps > max(_JUMP_SECONDS / tick, _JUMP_STEPS * usual)) | (steps < -_REORDERED * usual)
    line = _straightened(raw, np.flatnonzero(jumps), usual)
    duration = round(float(line[-1] + usual) * tick, 6)
    if duration * FASTEST < count:
        apart = f"{duration / count:.1e} s apart"
        problem = (
            f"time: its frames are {apart}, which is not believed; {CUSTOMARY:g} fps are assumed"
        )
        return Timeline("missing", CUSTOMARY, count / CUSTOMARY, problem=problem)
    problem = ""
    if jumps.any():
        often = counted(int(jumps.sum()), "time")
        problem = f"time: its timestamps jump {often}; each counts as a usual step"
    timing = "steady"
    # Containers round to their tick, so that a steady 30 fps may step 33, 34, 33 milliseconds.
    rounding = max(_TOLERANCE * usual, 1 if usual > 1 else 0)
    fps = _even_rate(line, tick, rounding, stated)
    if fps is None:
        timing = "variable"
    if jumps.any():
        timing = "jumps"
    elif (steps <= 0).any():
        timing = "out of order"
    if fps is not None:
        return Timeline(timing, fps, count / fps, problem=problem)
    times = (*_knots(line, tick, usual), (count, duration))
    return Timeline(timing, count / duration, duration, times, problem)


def _straightened(
    raw: NDArray[np.float64], jumps: NDArray[np.int64], usual: float
) -> NDArray[np.float64]:
    """Sort each stretch between jumps, and let the next begin a usual step behind it."""
    stretches = []
    begin = 0.0
    for stretch in np.split(raw, jumps + 1):
        rising = np.sort(stretch)
        stretches.append(rising - rising[0] + begin)
        begin = float(stretches[-1][-1]) + usual
    return np.concatenate(stretches)


def _even_rate(
    line: NDArray[np.float64], tick: float, tolerance: float, declared: float
) -> float | None:
    """Return the frames per second of evenly spaced frames, None if they are not.

    It is the declared rate if that puts every frame where it is.
    """
    numbers = np.arange(len(line))
    measured = (len(line) - 1) / (float(line[-1]) * tick)
    for rate in (declared, measured):
        if np.abs(line - numbers / (rate * tick)).max() <= tolerance:
            return rate
    return None


def _knots(line: NDArray[np.float64], tick: float, usual: float) -> list[tuple[int, float]]:
    """Return the fewest frames between which the others are evenly spaced, but for a tolerance."""
    tolerance = _TOLERANCE * usual
    while True:
        chosen = _corners(line.tolist(), tolerance)
        if len(chosen) <= _MOST_KNOTS:
            return [(number, round(float(line[number]) * tick, 6)) for number in chosen]
        tolerance *= 2


def _corners(line: Sequence[float], tolerance: float) -> list[int]:
    """Follow the line as far as one slope serves, then begin anew."""
    corners = [0]
    lowest, highest = -np.inf, np.inf
    for number in range(1, len(line)):
        start = corners[-1]
        run, rise = number - start, line[number] - line[start]
        if not lowest <= rise / run <= highest:
            start = number - 1
            corners.append(start)
            lowest, highest = -np.inf, np.inf
            run, rise = 1, line[number] - line[start]
        lowest = max(lowest, (rise - tolerance) / run)
        highest = min(highest, (rise + tolerance) / run)
    if corners[-1] != len(line) - 1:
        corners.append(len(line) - 1)
    return corners
