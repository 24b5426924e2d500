"""`vidssl visualize`: what a network responds to in clips, and the same with random weights.

Letters: T frames, S side of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
import torch.nn.functional as F

from vidssl_cli.base.console import leave_out, track
from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.data import augment
from vidssl_cli.data.streams import cut_pixels
from vidssl_cli.data.views import decode_views
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.media.encode import encode_png, encode_webp, write_mp4
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import check_tap
from vidssl_cli.pages import heatmap
from vidssl_cli.pages.attention_maps import Settings, open_explainers
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.pages.moving_pictures import Picture, moving_picture
from vidssl_cli.search.queries import Query, read_query

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

RATE, QUALITY = 8.0, 75
"""Of moving pictures: frames per second, slow enough to follow a map, and quality."""


@dataclass(frozen=True)
class Drawing:
    """The files that were drawn of one clip."""

    video: str
    label: str | None
    frames: list[int]
    """Numbers of the frames that the network saw."""
    shown: dict[str, str]
    """Titles of the maps of each set of weights, ``run`` and ``random``."""
    sheet: str
    """Picture: a row of frames, one of the run's maps, one of the random network's."""
    movie: str
    """The same as a video, side by side."""


def visualize(
    run: Path,
    texts: Sequence[str],
    out: Path,
    settings: Settings,
    *,
    checkpoint: str = "last",
    device: str = "auto",
    overwrite: bool = False,
    root: Path | None = None,
) -> tuple[list[Drawing], list[MediaError]]:
    """Draw what a network responds to in some videos: pictures, videos, and a page of all of them.

    Args:
        run: Run directory or exported model.
        texts: Videos, moments of videos, folders or lists, as `vidssl retrieve` takes them.
        out: Folder to write to.
        settings: What to draw.
        checkpoint: Of a run, ``last`` or ``best``.
        device: Where to compute.
        overwrite: Write into a folder that holds something.
        root: Folder that the videos of a folder or list must lie in; see `find_videos`.

    Returns:
        A drawing of each clip, and an error for each video that cannot be read; the user has been
        warned of each.

    Raises:
        UsageError: The tap does not exist or is a vector, or the folder is not empty.
        VidsslError: No video can be read.
    """
    if not overwrite and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is not empty", where="--out", hint="choose another, or say --overwrite"
        )
    encoder = Encoder.load(run, device, checkpoint)
    if settings.tap:
        check_tap(encoder.card.backbone.name, encoder.taps, settings.tap)
    broken: list[MediaError] = []
    clips = _read(encoder, texts, settings, broken, root)
    if not clips:
        raise VidsslError(
            f"none of {len(broken)} videos can be read", hint="see the warnings above"
        )
    videos = {clip.query.video.path: clip.query.video for clip in clips}
    explainers = open_explainers(run, encoder, checkpoint, list(videos.values()))
    out.mkdir(parents=True, exist_ok=True)
    drawings, shown_clips = [], []
    for clip in track(clips, "clips", len(clips)):
        maps, shown = {}, {}
        for weights, explainer in explainers.items():
            values, shown[weights] = explainer.explain(encoder.prepare([clip.decoded]), settings)
            maps[weights] = values.cpu().numpy()
        pictures = {"frames": clip.seen(encoder.card.input.crop, settings.side)}
        pictures |= {
            name: heatmap.overlay(pictures["frames"], value) for name, value in maps.items()
        }
        drawings.append(_write(out, clip, pictures, shown, singles=settings.singles))
        shown_clips.append(_for_page(clip, pictures, shown))
    subtitle = f"{settings.method}, {encoder.card.backbone.name} of {run}, {len(clips)} clips"
    write_page(
        out / "index.html", "attention.html", title="Where the network looks", subtitle=subtitle,
        scale=[f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in heatmap.SCALE], clips=shown_clips,
    )  # fmt: skip
    return drawings, broken


@dataclass(frozen=True)
class Clip:
    """A clip of a video that can be read."""

    query: Query
    name: str
    """Of the files that are drawn of it."""
    frames: NDArray[np.int64]
    """(T,)"""
    decoded: Tensor
    """(T, 3, H, W) uint8, all of the frames."""

    def seen(self, crop: int, side: int) -> NDArray[np.uint8]:
        """Return the square (T, S, S, 3) of the frames that the network sees, in their colours.

        Args:
            crop: Side of the square in the decoded frames.
            side: S.
        """
        middle = augment.centre((self.decoded.shape[-2], self.decoded.shape[-1]), crop)
        square = cut_pixels([self.decoded], middle, crop)[0].transpose(0, 1).float()
        scaled = F.interpolate(
            square, (side, side), mode="bilinear", antialias=True, align_corners=False
        )
        pixels = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
        return cast("NDArray[np.uint8]", pixels.numpy())


def _read(
    encoder: Encoder,
    texts: Sequence[str],
    settings: Settings,
    broken: list[MediaError],
    root: Path | None,
) -> list[Clip]:
    """Read the clips of all videos; warn of those that cannot be read, and leave them out."""
    queries: list[Query] = []
    clips: list[Clip] = []
    for text in texts:
        try:
            queries += read_query(text, None, broken, root)
        except MediaError as error:
            leave_out(error, broken)
    windows = Windows(clips=settings.clips, stride=encoder.evaluation.stride)
    for number, query in enumerate(track(queries, "reading", len(queries)), 1):
        frames = encoder.views(query.video, windows, query.moment)
        try:
            decoded = decode_views(query.video, list(frames), encoder.card.input.resize)
        except MediaError as error:
            leave_out(error, broken)
            continue
        stem = re.sub(r"[^\w.-]+", "_", Path(query.video.path).stem)[:60]
        for position, (numbers, pictures) in enumerate(zip(frames, decoded, strict=True), 1):
            name = f"{number:03d}-{stem}" + (f"-{position}" if settings.clips > 1 else "")
            clips.append(Clip(query, name, numbers, pictures))
    return clips


def _write(
    out: Path,
    clip: Clip,
    pictures: Mapping[str, NDArray[np.uint8]],
    shown: dict[str, str],
    *,
    singles: bool,
) -> Drawing:
    """Write the files of a clip."""
    rows = list(pictures.values())
    sheet, movie = out / f"{clip.name}.png", out / f"{clip.name}.mp4"
    atomic_write(sheet, encode_png(heatmap.sheet(rows)))
    write_mp4(movie, heatmap.side_by_side(rows), RATE, crf=18)
    if singles:
        (out / clip.name).mkdir(exist_ok=True)
        for kind, sequence in pictures.items():
            for number, picture in enumerate(sequence):
                path = out / clip.name / f"{number:03d}-{kind}.png"
                atomic_write(path, encode_png(picture))
    video = clip.query.video
    return Drawing(video.path, video.label, clip.frames.tolist(), shown, str(sheet), str(movie))


@dataclass(frozen=True)
class ShownClip:
    """A clip on the page."""

    path: str
    name: str
    label: str | None
    first: int
    """Number of the first frame."""
    last: int
    pictures: Mapping[str, Picture]
    """By their titles."""
    sheet: str
    """Data URL."""


def _for_page(
    clip: Clip, pictures: Mapping[str, NDArray[np.uint8]], shown: Mapping[str, str]
) -> ShownClip:
    video, rows = clip.query.video, list(pictures.values())
    titles = ["frames", f"run: {shown['run']}", f"random weights: {shown['random']}"]
    moving = [moving_picture(row, RATE, QUALITY) for row in rows]
    sheet = encode_webp(heatmap.sheet(rows)[None], RATE, quality=QUALITY)
    return ShownClip(
        video.path,
        Path(video.path).name,
        video.label,
        int(clip.frames.min()),
        int(clip.frames.max()),
        dict(zip(titles, moving, strict=True)),
        data_url(sheet, "webp"),
    )
