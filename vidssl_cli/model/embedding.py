"""Embeddings: the features of whole videos, with the seconds that each clip spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import Layer
from vidssl_cli.data.frame_rate import seconds_at
from vidssl_cli.model.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Moment, Video


@dataclass(frozen=True)
class Embedded:
    """The features of one video."""

    video: Video
    features: NDArray[np.float32]
    """(clips, D), not normalised."""
    spans: NDArray[np.float32]
    """(clips, 2) start and end of each clip in seconds."""


def embed(
    encoder: Encoder,
    videos: Sequence[Video],
    *,
    evaluation: Evaluation | None = None,
    moments: Sequence[Moment | None] | None = None,
    skipped: list[MediaError],
    label: str = "embedding",
) -> Iterator[Embedded]:
    """Embed videos one after another; none affects another.

    Args:
        encoder: the network.
        videos: with their facts.
        evaluation: clips, stride, tap and pooling; None takes the encoder's.
        moments: the part of each video to embed; None takes whole videos.
        skipped: an error for every video that cannot be read is appended to it, in order.
        label: of the progress on stderr.

    Yields:
        Embedded: in the order of the videos, without those that were skipped.
    """
    chosen = evaluation or encoder.evaluation
    windows = Windows(clips=chosen.clips, stride=chosen.stride)
    shown = iter(track(range(len(videos)), label, len(videos)))
    views = (
        (video, encoder.views(video, windows, moment))
        for video, moment, _ in zip(videos, moments or [None] * len(videos), shown, strict=True)
    )
    readings = [Layer(chosen.tap, chosen.pool)]
    for video, frames, (features,) in encoder.read(views, readings, "centre", skipped):
        yield Embedded(video, features, _spans(video, frames))


def _spans(video: Video, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (clips, 2) seconds: from a clip's first frame to the end of its last."""
    ends = np.stack([frames.min(1), frames.max(1) + 1], 1)
    return seconds_at(video, ends).astype(np.float32)
