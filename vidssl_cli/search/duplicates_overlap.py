"""Where two videos show the same footage: their frames are compared, several a second.

A frame is compared as a grey picture of 16 x 16 pixels, without its mean and of length 1, so that
size, encoding and brightness matter little. A common part is a run of frames of the one and of the
other at one distance in time; the best run is found by a scan like that of Smith and Waterman
(1981), without gaps. Two takes of one scene have the same background: where something moves, what
is left of both without the mean picture of the run must agree too.

Letters: T frames of the first video, U frames of the second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.contract.clips import known_frames
from vidssl_cli.contract.videos import Moment, Video
from vidssl_cli.data.frame_rate import seconds_at, stored_frames
from vidssl_cli.media.decode import read_planes

RATE = 8
"""Frames a second that are compared."""
SHORTEST = 1.5
"""Seconds that a common part has at least, or the whole of a video that is shorter."""
_SIDE = 16
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_FLAT = 4.0
"""Deviation of grey levels below which a frame shows nothing that could be compared."""
_ALIKE = 0.05
"""One minus the correlation of two frames up to which they count as the same; twice as much where
the run as a whole says that the frames of the two do not lie at the same times."""
_LEAST = -2.0
"""Score of two frames that have nothing in common, where two equal ones have 1."""
_MOVES = 0.04
"""Root mean square of what differs from the mean picture of a run, from which something moves."""
_SAME_MOTION = 0.9
"""Least correlation of that part of two videos."""
_UNLIKE, _UNLIKE_MOVING = 0.004, 0.1
"""Most that one minus the correlation of frames may be on average: where nothing moves, and for
each unit of the mean square of what moves, which differs between frames at different times."""
_PARTS = 8
"""Common parts of two videos that are looked for, at most."""
_ROWS = 256


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames of a video at `RATE`, as they are compared."""

    grey: NDArray[np.uint8]
    """(T, 16, 16)"""
    duration: float
    """Of the video, in seconds."""

    def vectors(self, *, mirrored: bool = False) -> NDArray[np.float32]:
        """Return (T, 256): of length 1, shorter for frames that show next to nothing."""
        pictures = self.grey[:, :, ::-1] if mirrored else self.grey
        rows = pictures.reshape(len(pictures), -1).astype(np.float32)
        rows -= rows.mean(1, keepdims=True)
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _FLAT * _SIDE)
        return rows


@dataclass(frozen=True)
class Part:
    """Footage that two videos share."""

    first: Moment
    """In the first video, in seconds."""
    second: Moment
    """In the second."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.first[1] - self.first[0]


By = Literal["content", "frames", "windows"]


@dataclass(frozen=True)
class Overlap:
    """Two videos of the index that show the same footage."""

    first: int
    """Number in the gallery, as the second."""
    second: int
    by: By
    """What says so: the files have the same content, their frames agree, or only their clips are
    similar, since a file cannot be read."""
    parts: tuple[Part, ...]
    """Where; the longest first."""
    shares: tuple[float, float]
    """How much of the first and of the second that is, from 0 to 1."""
    mirrored: bool = False
    """Whether one shows the other mirrored, left to right."""
    score: float | None = None
    """Largest cosine of their clips; None if these were not compared."""

    @property
    def reversed(self) -> Overlap:
        """The same with the second video as the first."""
        parts = tuple(Part(part.second, part.first) for part in self.parts)
        return replace(
            self, first=self.second, second=self.first, parts=parts, shares=self.shares[::-1]
        )


def read_frames(video: Video) -> Frames:
    """Read the frames of a video that are compared.

    Raises:
        MediaError: It cannot be read.
    """
    count = known_frames(video)
    duration = float(seconds_at(video, np.array(count)))
    times = np.arange(max(1, round(duration * RATE)))
    numbers, places = np.unique(stored_frames(video, RATE, times), return_inverse=True)
    planes = read_planes(video, numbers.tolist(), (_SIDE, _SIDE))
    grey = np.tensordot(planes, _GREY, (1, 0)).astype(np.uint8)
    return Frames(grey[places], duration)


def common_parts(first: Frames, second: Frames) -> tuple[list[Part], bool]:
    """Find what two videos share.

    Returns:
        The parts, the longest first, and whether the second shows them mirrored.
    """
    found = [
        (list(_parts(first, second, mirrored=mirrored)), mirrored) for mirrored in (False, True)
    ]
    return max(found, key=lambda each: sum(part.seconds for part in each[0]))


def covered(moments: list[Moment]) -> float:
    """Return the seconds of moments together, those that overlap counted once."""
    total, end = 0.0, -np.inf
    for start, stop in sorted(moments):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def _parts(first: Frames, second: Frames, *, mirrored: bool) -> Iterator[Part]:
    one, other = first.vectors(), second.vectors(mirrored=mirrored)
    least = min(round(SHORTEST * RATE), len(one), len(other))
    free = np.ones(len(one), bool), np.ones(len(other), bool)
    for _ in range(_PARTS):
        start, place, length = _best_run(one, other, free)
        if length < least:
            return
        start, place, length = _extended(one, other, start, place, length)
        spans = slice(start, start + length), slice(place, place + length)
        if _same_footage(one[spans[0]], other[spans[1]]):
            yield Part(_moment(spans[0], first), _moment(spans[1], second))
        free[0][spans[0]] = free[1][spans[1]] = False


def _best_run(
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    free: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> tuple[int, int, int]:
    """Return start in the one, start in the other and length of the run with the largest score."""
    width = len(other)
    scores, starts = np.zeros(width + 1, np.float32), np.zeros(width + 1, np.int64)
    best, found = np.float32(0), (0, 0, 0)
    for begin in range(0, len(one), _ROWS):
        block = _scores(one[begin : begin + _ROWS] @ other.T, _ALIKE)
        block[~free[0][begin : begin + _ROWS]] = -np.inf
        block[:, ~free[1]] = -np.inf
        for row, alike in enumerate(block, begin):
            # A run ends at the frame before in both; else one begins here.
            starts[1:] = np.where(scores[:-1] > 0, starts[:-1], row)
            scores[1:] = np.maximum(scores[:-1], 0) + alike
            place = int(scores[1:].argmax())
            if scores[place + 1] > best:
                best = scores[place + 1]
                length = row + 1 - int(starts[place + 1])
                found = row + 1 - length, place + 1 - length, length
    return found


def _extended(
    one: NDArray[np.float32], other: NDArray[np.float32], start: int, place: int, length: int
) -> tuple[int, int, int]:
    """Let a run go on over frames that differ as much as some of its own do.

    Between frames at slightly different times fast motion differs, while at rest nothing does.
    """
    back, ahead = min(start, place), min(len(one) - start, len(other) - place)
    rows = (one[start - back : start + ahead] * other[place - back : place + ahead]).sum(1)
    run = rows[back : back + length]
    alike = min(max(_ALIKE, 4 * (1 - float(np.median(run)))), 2 * _ALIKE)
    scores = _scores(rows, alike)
    after = np.append(0, scores[back + length :].cumsum())
    before = np.append(0, scores[:back][::-1].cumsum())
    more, less = int(after.argmax()), int(before.argmax())
    return start - less, place - less, length + less + more


def _scores(correlations: NDArray[np.float32], alike: float) -> NDArray[np.float32]:
    """Return what pairs of frames add to a run: 1 if they are equal, below 0 if they differ."""
    scores: NDArray[np.float32] = np.maximum(1 - (1 - correlations) / np.float32(alike), _LEAST)
    return scores


def _same_footage(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Tell footage from another take of the same scene."""
    moving, also = one - one.mean(0), other - other.mean(0)
    sizes = float((moving**2).sum()), float((also**2).sum())
    motion = max(sizes) / len(one)
    if 1 - float((one * other).sum(1).mean()) > _UNLIKE + _UNLIKE_MOVING * motion:
        return False
    same = float((moving * also).sum()) >= _SAME_MOTION * sqrt(sizes[0] * sizes[1])
    return same or motion < _MOVES**2


def _moment(frames: slice, video: Frames) -> Moment:
    """Return the seconds of some frames; those of the last go to the end of the video."""
    end = video.duration if frames.stop == len(video.grey) else frames.stop / RATE
    return frames.start / RATE, end
