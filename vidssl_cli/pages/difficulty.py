"""A page of clips from easy to hard, as a curriculum ranks them (Wang, thesis 2020, figure 3.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.base.console import track
from vidssl_cli.data.motion_scores import Scoring, motion_boundaries
from vidssl_cli.media.encode import encode_png, encode_webp
from vidssl_cli.pages import heatmap
from vidssl_cli.pages.clip_strip import flow_pictures, wheel
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.pages.saliency import bounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.scores import Scored
    from vidssl_cli.contract.videos import Video

SHOWN = 12
"""Clips of a page, at most."""
QUALITY = 80
"""Of pictures, from 0 to 100."""


@dataclass(frozen=True)
class _Clip:
    """A clip on the page."""

    rank: int
    """From 1, for the easiest."""
    score: float
    name: str
    label: str | None
    path: str
    first: int
    last: int
    """Numbers of its first and last frame."""
    pictures: dict[str, str]
    """Data URLs, by their captions."""


def write_ranking(
    page: Path, videos: Sequence[Video], rows: Sequence[Scored], scoring: Scoring
) -> None:
    """Draw clips at even distances in the order of their scores, the easiest first.

    Args:
        page: The HTML file.
        videos: All that were scored, and perhaps others.
        rows: Their scores.
        scoring: How they were scored.

    Raises:
        MediaError: A video can no longer be read.
    """
    by_path = {video.path: video for video in videos}
    ranked = sorted(
        ((score, row.path, number) for row in rows for number, score in enumerate(row.scores)),
        key=lambda clip: -clip[0],
    )
    places = np.linspace(0, len(ranked) - 1, min(SHOWN, len(ranked))).round().astype(int).tolist()
    shown = []
    for place in track(places, "drawing", len(places)):
        score, path, number = ranked[place]
        video = by_path[path]
        clip, frames, flow = scoring.see(video, number)
        shown.append(
            _Clip(
                place + 1, score, Path(path).name, video.label, path, clip[0], clip[-1],
                _pictures(clip, frames, flow),
            )
        )  # fmt: skip
    write_page(
        page, "difficulty.html", title="From easy to hard",
        subtitle=f"{len(shown)} of {len(ranked)} clips of {len(rows)} videos, at even distances in "
        "their order",
        wheel=data_url(encode_png(wheel()), "png"), clips=shown, total=len(ranked),
    )  # fmt: skip


def _pictures(clip: range, frames: NDArray[np.uint8], flow: NDArray[np.float32]) -> dict[str, str]:
    """Draw a clip: three frames, two fields of flow, and its summed motion boundaries.

    Of M_u and M_v it is the one with more in it.

    Args:
        clip: Numbers of the T frames.
        frames: (T, S, S, 3)
        flow: (T - 1, 2, S, S)
    """
    middle = len(clip) // 2
    fields, _ = flow_pictures(torch.from_numpy(flow[[0, middle - 1]].transpose(1, 0, 2, 3)))
    totals = motion_boundaries(flow.sum(0))
    strongest = int(totals.sum((1, 2)).argmax())
    total = bounded(torch.from_numpy(totals[strongest])).numpy()
    drawn = {
        f"frame {clip[0]}": frames[0],
        f"frame {clip[middle]}": frames[middle],
        f"frame {clip[-1]}": frames[-1],
        f"flow to frame {clip[1]}": fields[0],
        f"flow to frame {clip[middle]}": fields[1],
        f"motion boundaries M_{'uv'[strongest]}": heatmap.coloured(total).round().astype(np.uint8),
    }
    return {
        caption: data_url(encode_webp(picture[None], 1, quality=QUALITY), "webp")
        for caption, picture in drawn.items()
    }
