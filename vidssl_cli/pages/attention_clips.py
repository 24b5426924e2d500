"""Clips of videos to draw: how they are read, seen by a network, and what moves in them.

Letters: T frames, H W their size, S side of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F

from vidssl_cli.base.console import leave_out, track, warn
from vidssl_cli.base.errors import MediaError
from vidssl_cli.contract.clips import Windows, fitting_stride
from vidssl_cli.data import augment
from vidssl_cli.data.motion_scores import motion_boundaries
from vidssl_cli.data.streams import cut_flow, cut_pixels
from vidssl_cli.data.views import decode_views
from vidssl_cli.media.flow import flow_of_views
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.search.queries import Query, read_query

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Clip:
    """A clip of a video that can be read."""

    query: Query
    place: str
    """Names its video, and where it lies in it; clips of other strides have the same."""
    name: str
    """Of the files that are drawn of it."""
    frames: NDArray[np.int64]
    """(T,)"""
    stride: int
    """Distance between two of them, in frames at the rate of the network."""
    decoded: Tensor
    """(T, 3, H, W) uint8, all of the frames."""

    def seen(self, crop: int, side: int) -> NDArray[np.uint8]:
        """Return the square (T, S, S, 3) of the frames that the network sees, in their colours.

        Args:
            crop: Side of the square in the decoded frames.
            side: S.
        """
        square = cut_pixels([self.decoded], self._middle(crop), crop)[0].transpose(0, 1).float()
        pixels = _scaled(square, side).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return cast("NDArray[np.uint8]", pixels.numpy())

    def boundaries(self, crop: int, side: int) -> Tensor:
        """Return the lengths of the summed motion boundaries M_u and M_v in this square, (2, S, S).

        Optical flow is read from a packed set, or computed by DIS, as far as it is not there.

        Raises:
            UsageError: It must be computed, and OpenCV is missing.
        """
        pictures = self.decoded.numpy()[None]
        (flow,) = flow_of_views(self.query.video, [self.frames], pictures, "dis")
        square = cut_flow([torch.from_numpy(flow)], self._middle(crop), crop)[0]
        lengths = torch.from_numpy(motion_boundaries(square.sum(1).numpy())).float()
        return _scaled(lengths[:, None], side)[:, 0]

    def _middle(self, crop: int) -> augment.Parameters:
        return augment.centre((self.decoded.shape[-2], self.decoded.shape[-1]), crop)


def _scaled(pictures: Tensor, side: int) -> Tensor:
    """Scale pictures (N, C, ., .) to S rows and columns."""
    return F.interpolate(
        pictures, (side, side), mode="bilinear", antialias=True, align_corners=False
    )


def read_clips(
    encoder: Encoder,
    texts: Sequence[str],
    clips: int,
    strides: Sequence[int],
    broken: list[MediaError],
    root: Path | None,
) -> list[list[Clip]]:
    """Read the clips of all videos; warn of those that cannot be read, and leave them out.

    Args:
        encoder: Knows the length and the size of clips.
        texts: Videos, as `read_query` takes them.
        clips: How many of each video at each stride, evenly spaced; one is in its middle.
        strides: Distances in frames; in a video that is too short a smaller one is taken, and told.
        broken: Receives an error for each video that cannot be read.
        root: As for `read_query`.

    Returns:
        The clips of each video, place by place, in the order of strides.
    """
    queries: list[Query] = []
    for text in texts:
        try:
            queries += read_query(text, None, broken, root)
        except MediaError as error:
            leave_out(error, broken)
    groups = []
    for number, query in enumerate(track(queries, "reading", len(queries)), 1):
        windows = [Windows(clips=clips, stride=stride) for stride in strides]
        views = [encoder.views(query.video, each, query.moment) for each in windows]
        frames = np.stack(views, 1).reshape(-1, encoder.card.frames)
        try:
            decoded = decode_views(query.video, list(frames), encoder.card.input.resize)
        except MediaError as error:
            leave_out(error, broken)
            continue
        fitting = [_fitting(encoder, query, stride) for stride in strides]
        name = f"{number:03d}-" + re.sub(r"[^\w.-]+", "_", Path(query.video.path).stem)[:60]
        group = []
        for row, (numbers, pictures) in enumerate(zip(frames, decoded, strict=True)):
            position, which = divmod(row, len(strides))
            place = name + f"-{position + 1}" * (clips > 1)
            stem = place + f"-stride{strides[which]}" * (len(strides) > 1)
            group.append(Clip(query, place, stem, numbers, fitting[which], pictures))
        groups.append(group)
    return groups


def _fitting(encoder: Encoder, query: Query, stride: int) -> int:
    """Return the stride at which a clip fits into the video; warn if it is another."""
    count = encoder.count(query.video)
    fitting = fitting_stride(count, encoder.card.frames, stride)
    if fitting < stride:
        warn(
            f"{query.video.path}: {encoder.card.frames} frames at a stride of {stride} do not fit "
            f"into its {count} frames; they are drawn at a stride of {fitting}"
        )
    return fitting
