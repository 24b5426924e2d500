"""Dense optical flow between frames of a video, by OpenCV, or as a packed set keeps it.

OpenCV is optional: ``pip install 'vidssl[flow]'``. Flow is computed on grey pictures at the size at
which a recipe decodes them. Components are pixels of these pictures: u to the right, v down.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.errors import UsageError
from vidssl_cli.media.geometry import resampling
from vidssl_cli.media.packed import FLOW_SCALE, read_packed_flow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import FlowMethod, Video

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class FlowEstimator:
    """Computes flow between two pictures; serves one thread at a time."""

    def __init__(self, method: FlowMethod) -> None:
        """Choose DIS (Kroeger et al. 2016, medium preset) or TV-L1 (Zach et al. 2007).

        Raises:
            UsageError: OpenCV is missing.
        """
        cv2 = opencv()
        self._error = cv2.error
        if method == "dis":
            self._estimator = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        else:
            self._estimator = cv2.optflow.DualTVL1OpticalFlow_create()

    def __call__(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return (2, H, W) of two grey pictures (H, W).

        Raises:
            UsageError: They are too small.
        """
        field: NDArray[np.float32]
        try:
            field = self._estimator.calc(before, after, None)
        except self._error as error:
            height, width = before.shape
            raise UsageError(
                f"there is no optical flow of pictures of {height} x {width} pixels: {error.err}",
                hint="choose a size of 16 x 16 pixels or more",
            ) from None
        return np.ascontiguousarray(field.transpose(2, 0, 1))


def opencv() -> Any:
    """Return the module cv2, which leaves the cores to our own threads.

    Raises:
        UsageError: It is missing, or comes without its contributed modules.
    """
    try:
        import cv2
        import cv2.optflow
    except ImportError as error:
        raise UsageError(
            f"optical flow needs OpenCV with its contributed modules: {error}",
            hint="pip install opencv-contrib-python-headless; or use a set that was packed with "
            "--flow, and clips of consecutive frames",
        ) from error
    cv2.setNumThreads(1)
    return cv2


def grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the luma (H, W) of planes (3, H, W)."""
    luma: NDArray[np.uint8] = np.rint(np.tensordot(_LUMA, picture, 1)).astype(np.uint8)
    return luma


def check_flow(videos: Sequence[Video], method: FlowMethod) -> None:
    """Check that the flow of all videos is there or can be computed.

    Raises:
        UsageError: A packed set holds flow of another method, or OpenCV is missing.
    """
    for video in videos:
        if video.packed and video.packed.flow and video.packed.flow.method != method:
            found = video.packed.flow.method
            raise UsageError(
                f"{video.path} was packed with flow by {found}, and the recipe asks for {method}",
                where=video.path,
                hint=f"set flow={found}, or pack with --flow {method}",
            )
    if not all(video.packed and video.packed.flow for video in videos):
        opencv()


def flow_of_views(
    video: Video,
    views: Sequence[NDArray[np.int64]],
    pictures: NDArray[np.uint8],
    method: FlowMethod,
) -> NDArray[np.float32]:
    """Return the flow from each frame of each view to the next.

    Args:
        video: where a packed set may keep flow between neighbouring frames.
        views: V of (T,) frame numbers.
        pictures: (V, T, 3, H, W), the frames.
        method: how to compute what is not kept.

    Returns:
        (V, T - 1, 2, H, W) in pixels of the pictures.

    Raises:
        UsageError: OpenCV is missing and there is something to compute.
        DamagedFileError: A packed set is damaged.
    """
    count, frames, _, *size = pictures.shape
    places: dict[tuple[int, int], list[tuple[int, int]]] = {}  # of each pair of frames
    for view, numbers in enumerate(views):
        for time, pair in enumerate(pairwise(numbers.tolist())):
            places.setdefault(pair, []).append((view, time))
    fields = _stored(video, [*places], (size[0], size[1]))
    if missing := places.keys() - fields.keys():
        estimate = FlowEstimator(method)
        for pair in missing:
            view, time = places[pair][0]
            fields[pair] = estimate(grey(pictures[view, time]), grey(pictures[view, time + 1]))
    flow = np.empty((count, frames - 1, 2, *size), np.float32)
    for pair, field in fields.items():
        for place in places[pair]:
            flow[place] = field
    return flow


def _stored(
    video: Video, pairs: Sequence[tuple[int, int]], size: tuple[int, int]
) -> dict[tuple[int, int], NDArray[np.float32]]:
    """Return what a packed set keeps of the flow between pairs of frames: neighbours alone."""
    if video.packed is None or video.packed.flow is None:
        return {}
    kept = [pair for pair in pairs if pair[1] == pair[0] + 1]
    if not kept:
        return {}
    fields = stored_flow(video, [before for before, _ in kept], size)
    return dict(zip(kept, fields, strict=True))


def stored_flow(video: Video, frames: Sequence[int], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return (n, 2, H, W), the packed flow at n frames, as pixels of frames of H x W.

    Raises:
        MediaError: The video has no frame after one of these.
        DamagedFileError: The packed set is damaged.
    """
    flow = read_packed_flow(video, frames) * np.float32(FLOW_SCALE)
    height, width = flow.shape[2:]
    if (height, width) == size:
        return flow
    flow = resampling(height, size[0], 0) @ flow @ resampling(width, size[1], 0).T
    flow *= np.array([size[1] / width, size[0] / height], np.float32)[:, None, None]
    return flow
