"""Motion scores of clips for a curriculum (Wang, thesis 2020, section 3.2).

The score of a clip is the share of its motion boundaries that lies in the strongest block of a
grid of 4 by 4: 1 if all motion is in one place, 1/16 if it is everywhere, 0 without any. High
scores are easy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import leave_out, track
from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError, UsageError
from vidssl_cli.contract.scores import Scored, identify, read_scores, write_scores
from vidssl_cli.media.decode import read_planes, stream_planes
from vidssl_cli.media.flow import FlowEstimator, grey, opencv, stored_flow
from vidssl_cli.media.geometry import centre_box
from vidssl_cli.media.scale import target_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import FlowMethod, Video


@dataclass(frozen=True)
class Scoring:
    """How clips are scored."""

    flow: FlowMethod
    """Method of optical flow, which is read from packed videos that hold it."""
    resize: tuple[int, int] | int
    """Size at which flow is computed."""
    crop: int
    """Side of the square in the middle that is scored."""
    frames: int
    """T, frames of a clip; clips follow one another without overlap."""

    def as_document(self) -> dict[str, Any]:
        """Return the settings as they are read back from JSON."""
        resize = self.resize if isinstance(self.resize, int) else list(self.resize)
        return {"score": "motion", **vars(self), "resize": resize}

    def __call__(self, video: Video) -> Scored:
        """Score every clip of a video.

        Raises:
            MediaError: It cannot be read.
            UsageError: The square does not fit.
        """
        size, square = self._square(video)
        fields = _fields(video, self.flow, size, self._clips(video))
        scores = tuple(motion_score(field.sum(0)[square]) for field in fields)
        try:
            return replace(identify(video), scores=scores)
        except OSError as error:
            raise MediaError(f"cannot be read: {error.strerror}", where=video.path) from error

    def see(
        self, video: Video, number: int
    ) -> tuple[range, NDArray[np.uint8], NDArray[np.float32]]:
        """Return what the score of a clip is made of.

        Args:
            video: That was scored.
            number: Of the clip among its clips, from 0.

        Returns:
            The numbers of the clip's T frames, and in the square of S pixels that is scored the
            pictures (T, S, S, 3) and the flow (T - 1, 2, S, S).

        Raises:
            MediaError: It cannot be read.
        """
        size, square = self._square(video)
        clip = self._clips(video)[number]
        pictures = read_planes(video, clip, size)[square].transpose(0, 2, 3, 1)
        (flow,) = _fields(video, self.flow, size, [clip])
        return clip, pictures, flow[square]

    def _clips(self, video: Video) -> list[range]:
        """Return the frame numbers of each clip."""
        starts = range(0, (video.frames or 0) - self.frames + 1, self.frames)
        return [range(start, start + self.frames) for start in starts]

    def _square(self, video: Video) -> tuple[tuple[int, int], tuple[Any, ...]]:
        """Return the size at which flow is computed, and where in it the square is.

        Raises:
            UsageError: It does not fit.
        """
        size = target_size(self.resize, (video.height or 1, video.width or 1))
        if self.crop > min(size):
            raise UsageError(
                f"a square of {self.crop} does not fit into {size[0]}x{size[1]}: {video.path}",
                where=video.path,
            )
        top, left, _, _ = centre_box(self.crop, size)
        return size, np.s_[..., top : top + self.crop, left : left + self.crop]


def score_videos(
    videos: Sequence[Video], out: Path, scoring: Scoring, *, workers: int | None = None
) -> tuple[list[Scored], list[MediaError]]:
    """Score every clip of every video; what ``out`` has already is kept.

    Args:
        videos: With facts.
        out: The file of scores; when interrupted it holds what was done.
        scoring: How to score.
        workers: Videos at a time; one per core if None.

    Returns:
        The rows, and one error for each video that cannot be read, which has been told.

    Raises:
        UsageError: OpenCV is missing, or the square does not fit.
        DamagedFileError: ``out`` is no file of scores.
    """
    if not all(video.packed and video.packed.flow for video in videos):
        opencv()
    known: dict[str, Scored] = {}
    if out.exists():
        settings, rows = read_scores(out)
        known = rows if settings == scoring.as_document() else {}

    def score(video: Video) -> Scored | MediaError:
        row = known.get(video.path)
        try:
            return row if row and row.is_of(video) else scoring(video)
        except MediaError as error:
            return error

    done: list[Scored] = []
    broken: list[MediaError] = []
    pool = ThreadPoolExecutor(workers or usable_cores(), "score")
    try:
        for result in track(pool.map(score, videos), "scoring", total=len(videos)):
            if isinstance(result, MediaError):
                leave_out(result, broken)
            else:
                done.append(result)
    except BaseException:  # such as Ctrl-C
        if done:
            left = known | {row.path: row for row in done}
            write_scores(out, scoring.as_document(), [*left.values()])
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    write_scores(out, scoring.as_document(), done)
    return done, broken


def motion_score(total: NDArray[np.float32]) -> float:
    """Score a clip by its flow (2, H, W), summed over time."""
    best = 0.0
    height, width = total.shape[1:]
    rows, columns = (np.arange(length) * 4 // length for length in (height, width))
    blocks = (4 * rows[:, None] + columns).ravel()
    for magnitude in motion_boundaries(total).reshape(2, -1):
        sums = np.bincount(blocks, magnitude, 16)
        if sums.any():
            strongest = (sums / np.bincount(blocks, minlength=16)).argmax()
            best = max(best, float(sums[strongest] / sums.sum()))
    return best


def motion_boundaries(total: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how strongly each component of flow (2, H, W) changes from place to place, (2, H, W).

    Of flow that is summed over a clip they are the lengths of M_u and M_v, the summed motion
    boundaries (Wang, thesis 2020, equation 2.2), as derivatives of a sum are sums of derivatives.
    """
    return np.stack([np.hypot(*_derivatives(component)) for component in total.astype(np.float64)])


def _derivatives(field: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the derivatives along x and y of (H, W) by Prewitt's kernels; borders are repeated."""
    padded = np.pad(field, 1, mode="edge")
    columns = padded[:-2] + padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return columns[:, 2:] - columns[:, :-2], rows[2:] - rows[:-2]


def _fields(
    video: Video, method: FlowMethod, size: tuple[int, int], clips: Sequence[range]
) -> Iterator[NDArray[np.float32]]:
    """Yield the flow (T - 1, 2, H, W) within each of some clips that follow one another."""
    if video.packed and video.packed.flow and video.packed.flow.method == method:
        for clip in clips:
            yield stored_flow(video, clip[:-1], size)
        return
    estimate = FlowEstimator(method)
    for pictures in _pictures(video, clips, size):
        yield np.stack([estimate(*pair) for pair in pairwise(pictures)])


def _pictures(
    video: Video, clips: Sequence[range], size: tuple[int, int]
) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield the grey pictures (H, W) of each clip."""
    if video.packed:
        for clip in clips:
            yield [grey(picture) for picture in read_planes(video, clip, size)]
        return
    if not clips:
        return
    pictures = map(grey, stream_planes(video, range(clips[0].start, clips[-1].stop), size))
    for clip in clips:
        yield [next(pictures) for _ in clip]
