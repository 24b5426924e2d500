"""Decoded views: the frames of several clips of a video, each frame decoded once.

Videos that cannot be read are left out, or an error where all of them are needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError, VidsslError
from vidssl_cli.base.wording import counted
from vidssl_cli.data.decoders import PYAV, FrameReader

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.contract.videos import Video

PREFETCH = 3
"""Batches that are decoded ahead of the one that is being augmented."""


def decode_views(
    video: Video,
    views: Sequence[NDArray[np.int64]],
    resize: tuple[int, int] | int,
    read: FrameReader = PYAV,
) -> Tensor:
    """Return (V, …, T, 3, H, W) uint8: every view's frames, each frame decoded once.

    Args:
        video: what to decode.
        views: V of (…, T) frame numbers.
        resize: size at which frames are decoded, as in `read_planes`.
        read: decodes them.

    Raises:
        MediaError: the video cannot be read.
    """
    asked = np.stack(views)
    numbers, places = np.unique(asked, return_inverse=True)
    planes = read(video, numbers.tolist(), resize)
    pictures = torch.empty((*asked.shape, *planes.shape[1:]), dtype=torch.uint8)
    gathered = pictures.numpy().reshape(-1, *planes.shape[1:])
    np.take(planes, places.ravel(), axis=0, out=gathered, mode="clip")  # "raise" would buffer
    return pictures


def decode_ahead(
    views: Iterator[tuple[Video, NDArray[np.int64]]],
    resize: tuple[int, int] | int,
    skipped: list[MediaError],
    workers: int | None = None,
    read: FrameReader = PYAV,
) -> Iterator[tuple[tuple[Video, NDArray[np.int64]], Tensor]]:
    """Decode (clips, …, T, 3, H, W) of each video in threads, a few videos ahead of the network.

    Args:
        views: videos, each with (clips, …, T) frame numbers.
        resize: size at which frames are decoded, as in `read_planes`.
        skipped: an error for every video that cannot be read is appended to it, in order.
        workers: threads; None takes one per core.
        read: decodes frames.
    """
    workers = workers or usable_cores()
    pool = ThreadPoolExecutor(workers, "decode")
    try:
        ahead: deque[Any] = deque()

        def first() -> list[Any]:
            item, future = ahead.popleft()
            try:
                return [(item, future.result())]
            except MediaError as error:
                skipped.append(error)
                return []

        for video, frames in views:
            decoding = pool.submit(decode_views, video, list(frames), resize, read)
            ahead.append(((video, frames), decoding))
            if len(ahead) > max(workers, 2 * PREFETCH):
                yield from first()
        while ahead:
            yield from first()
    finally:  # stopping does not wait for a file that is slow to decode
        pool.shutdown(wait=False, cancel_futures=True)


def require_readable(unreadable: Sequence[MediaError]) -> None:
    """Make videos that cannot be read an error, where fewer videos would give another figure.

    Raises:
        VidsslError: there are any.
    """
    if unreadable:
        raise VidsslError(
            f"{counted(len(unreadable), 'video')} cannot be read, the first: {unreadable[0]}",
            where=unreadable[0].where,
            hint="make the manifest again with `vidssl data scan`, which leaves them out",
        )
