"""Embeddings: the features of whole videos, with the seconds that each clip spans.

Letters: T frames of a clip, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import Field

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import Layer
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import at_rate, position_at, seconds_at
from vidssl_cli.model.encoder import Encoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Moment

Seconds = Annotated[float, Field(ge=0.01, le=86400)]
Every = Seconds | Literal["recipe", "clip"]
"""Where the clips of a video are: one begins every so many seconds; or evenly spaced, as many as
the recipe says, and with ``clip`` as many more as it takes to leave no frame out."""

_AT_ONCE = 64
"""Clips that are decoded and run through the network together; a long video has many."""
_Clips = tuple["Video", "NDArray[np.int64]"]
"""A video and the numbers of its frames (clips, T), or (clips, S, T) of S strides."""


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
    every: Every = "recipe",
    moments: Sequence[Moment | None] | None = None,
    skipped: list[MediaError],
    label: str = "embedding",
) -> Iterator[Embedded]:
    """Embed videos one after another; none affects another.

    Args:
        encoder: the network.
        videos: with their facts.
        evaluation: clips, stride, tap and pooling; None takes the encoder's.
        every: where the clips of a whole video are; those of a moment are evenly spaced.
        moments: the part of each video to embed; None takes whole videos.
        skipped: an error for every video that cannot be read is appended to it, in order.
        label: of the progress on stderr.

    Yields:
        Embedded: in the order of the videos, without those that were skipped.
    """
    chosen = evaluation or encoder.evaluation
    shown = iter(track(range(len(videos)), label, len(videos)))
    clips = (
        (video, encoder.views(video, _windows(encoder, video, chosen, every, moment), moment))
        for video, moment, _ in zip(videos, moments or [None] * len(videos), shown, strict=True)
    )
    layer = Layer(chosen.tap, chosen.pool)
    for long, group in groupby(clips, key=lambda each: len(each[1]) > _AT_ONCE):
        read = _read_long if long else _read
        for video, frames, features in read(encoder, group, layer, skipped):
            yield Embedded(video, features, _spans(video, frames))


def embed_planes(
    encoder: Encoder,
    planes: NDArray[np.uint8],
    fps: float,
    every: Every = "recipe",
    moment: Moment | None = None,
) -> Embedded:
    """Embed a video whose frames are in memory.

    Args:
        encoder: The network.
        planes: (T, 3, H, W) at the size at which the network's input is decoded.
        fps: Frames per second.
        every: Where the clips are.
        moment: The part to embed; None takes all.
    """
    count, _, height, width = planes.shape
    video = Video("frames", frames=count, fps=fps, width=width, height=height, duration=count / fps)
    chosen = encoder.evaluation
    windows = _windows(encoder, video, chosen, every, moment)
    frames = encoder.views(video, windows, moment)
    layer = Layer(chosen.tap, chosen.pool)
    parts = [
        encoder.features_of(torch.from_numpy(planes[part]), [layer], "centre")[0]
        for part in np.array_split(frames, ceil(len(frames) / _AT_ONCE))
    ]
    return Embedded(video, np.concatenate(parts), _spans(video, frames))


def _windows(
    encoder: Encoder, video: Video, evaluation: Evaluation, every: Every, moment: Moment | None
) -> Windows:
    """Return which clips of a video, or of a moment of it, are embedded."""
    clips, stride = evaluation.clips, evaluation.stride
    if every == "recipe" or moment:
        return Windows(clips=clips, stride=stride)
    count = encoder.count(video)
    if every == "clip":
        return Windows(clips=max(clips, ceil(count / encoder.span(stride))), stride=stride)
    shown = at_rate(video, encoder.card.input.fps)
    seconds = np.arange(0, float(seconds_at(shown, np.array(count))), every)
    starts = np.round(position_at(shown, seconds)).astype(np.int64)
    return Windows("starts", stride=stride, starts=tuple(starts.tolist()))


def _read(
    encoder: Encoder, clips: Iterator[_Clips], layer: Layer, skipped: list[MediaError]
) -> Iterator[tuple[Video, NDArray[np.int64], NDArray[np.float32]]]:
    """Yield videos, their frames, and the features (clips, D)."""
    for video, frames, (features,) in encoder.read(clips, [layer], "centre", skipped):
        yield video, frames, features


def _read_long(
    encoder: Encoder, clips: Iterator[_Clips], layer: Layer, skipped: list[MediaError]
) -> Iterator[tuple[Video, NDArray[np.int64], NDArray[np.float32]]]:
    """Do the same for videos of many clips, some of which are read at once."""
    for video, frames in clips:
        parts = np.array_split(frames, ceil(len(frames) / _AT_ONCE))
        broken: list[MediaError] = []
        read = _read(encoder, ((video, part) for part in parts), layer, broken)
        found = [features for _, _, features in read if not broken]
        if broken:
            skipped.append(broken[0])
        else:
            yield video, frames, np.concatenate(found)


def _spans(video: Video, frames: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (clips, 2) seconds: from a clip's first frame to the end of its last."""
    shown = frames.reshape(len(frames), -1)
    ends = np.stack([shown.min(1), shown.max(1) + 1], 1)
    return seconds_at(video, ends).astype(np.float32)
