"""`vidssl visualize`: what a network responds to in clips, and the same with random weights.

Letters: V clips of a video, T frames, S side of the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.contract.clips import Windows
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.media.encode import encode_png, encode_webp, write_mp4
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import check_tap
from vidssl_cli.pages import heatmap
from vidssl_cli.pages.attention_clips import Clip, read_clips
from vidssl_cli.pages.attention_maps import Explainer, Settings, open_explainers
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.pages.moving_pictures import Picture, moving_picture
from vidssl_cli.pages.saliency import bounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE, QUALITY = 8.0, 75
"""Of moving pictures: frames per second, slow enough to follow a map, and quality."""
BOUNDARIES = ("motion boundaries M_u (horizontal)", "motion boundaries M_v (vertical)")


@dataclass(frozen=True)
class Drawing:
    """The files that were drawn of one clip."""

    video: str
    label: str | None
    frames: list[int]
    """Numbers of the frames that the network saw."""
    stride: int
    """Distance between two of them, at the frame rate of the network."""
    shown: dict[str, str]
    """Titles of the maps of each set of weights, ``run`` and ``random``."""
    sheet: str
    """Picture: a row of frames, one of the run's maps, one of the random network's."""
    movie: str
    """The same as a video, side by side."""
    boundaries: str | None
    """Picture: the middle frame, the run's map of it, and the summed motion boundaries M_u, M_v."""
    last_frames: str | None
    """Picture: the last frames of the clips of all strides, a column for each, in these rows."""


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
        UsageError: The tap does not exist or is a vector, the network makes no such decision, or
            the folder is not empty.
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
    strides = settings.strides or Windows(stride=encoder.evaluation.stride).strides
    groups = read_clips(encoder, texts, settings.clips, strides, broken, root)
    if not groups:
        raise VidsslError(
            f"none of {len(broken)} videos can be read", hint="see the warnings above"
        )
    videos = {clips[0].query.video.path: clips[0].query.video for clips in groups}
    explainers = open_explainers(run, encoder, checkpoint, list(videos.values()), settings)
    drawings: list[Drawing] = []
    shown: list[_Section] = []
    for clips in track(groups, "videos", len(groups)):
        drawn = _draw(clips, encoder, explainers, settings)
        out.mkdir(parents=True, exist_ok=True)
        for first in range(0, len(drawn), len(strides)):
            of_place = drawn[first : first + len(strides)]
            last_frames = None
            if len(strides) > 1:
                last_frames = str(out / f"{of_place[0].clip.place}-strides.png")
                columns = [each.last_frame() for each in of_place]
                joined = heatmap.side_by_side([column[None] for column in columns])[0]
                atomic_write(Path(last_frames), encode_png(joined))
                shown.append(_last_frames_on_page(of_place, columns))
            for each in of_place:
                drawings.append(_write(out, each, last_frames, singles=settings.singles))
                shown.append(_clip_on_page(each))
    subtitle = f"{settings.method}, {encoder.card.backbone.name} of {run}, {len(drawings)} clips"
    write_page(
        out / "index.html", "attention.html", title="Where the network looks", subtitle=subtitle,
        scale=[f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in heatmap.SCALE], sections=shown,
    )  # fmt: skip
    return drawings, broken


@dataclass(frozen=True)
class _Drawn:
    """A clip with its pictures."""

    clip: Clip
    rows: Mapping[str, NDArray[np.uint8]]
    """(T, S, S, 3) of ``frames``, ``run`` and ``random``."""
    shown: dict[str, str]
    """Titles of the last two."""
    boundaries: Mapping[str, NDArray[np.uint8]]
    """(S, S, 3) of M_u and M_v by their captions, or nothing."""

    def last_frame(self) -> NDArray[np.uint8]:
        """Return the last frame of each row, one below the other."""
        return heatmap.sheet([row[-1:] for row in self.rows.values()])


def _draw(
    clips: Sequence[Clip],
    encoder: Encoder,
    explainers: Mapping[str, Explainer],
    settings: Settings,
) -> list[_Drawn]:
    """Draw the clips of one video."""
    prepared = encoder.prepare([clip.decoded for clip in clips])
    explained = {
        weights: explainer.explain(prepared, settings) for weights, explainer in explainers.items()
    }
    crop, side = encoder.card.input.crop, settings.side
    drawn = []
    for place, clip in enumerate(clips):
        frames = clip.seen(crop, side)
        rows, shown, boundaries = {"frames": frames}, {}, {}
        for weights, maps in explained.items():
            values, shown[weights] = maps[place]
            rows[weights] = heatmap.overlay(frames, values.cpu().numpy())
        if settings.boundaries:
            fields = [bounded(field).numpy() for field in clip.boundaries(crop, side)]
            pictures = [heatmap.coloured(field).round().astype(np.uint8) for field in fields]
            boundaries = dict(zip(BOUNDARIES, pictures, strict=True))
        drawn.append(_Drawn(clip, rows, shown, boundaries))
    return drawn


def _write(out: Path, drawn: _Drawn, last_frames: str | None, *, singles: bool) -> Drawing:
    """Write the files of a clip."""
    clip, rows = drawn.clip, list(drawn.rows.values())
    video = clip.query.video
    sheet, movie = out / f"{clip.name}.png", out / f"{clip.name}.mp4"
    atomic_write(sheet, encode_png(heatmap.sheet(rows)))
    write_mp4(movie, heatmap.side_by_side(rows), RATE, crf=18)
    boundaries = None
    if drawn.boundaries:
        middle = len(clip.frames) // 2
        seen = [drawn.rows["frames"][middle], drawn.rows["run"][middle]]
        joined = heatmap.side_by_side([p[None] for p in (*seen, *drawn.boundaries.values())])[0]
        boundaries = str(out / f"{clip.name}-boundaries.png")
        atomic_write(Path(boundaries), encode_png(joined))
    if singles:
        (out / clip.name).mkdir(exist_ok=True)
        for kind, sequence in drawn.rows.items():
            for number, picture in enumerate(sequence):
                path = out / clip.name / f"{number:03d}-{kind}.png"
                atomic_write(path, encode_png(picture))
    frames = clip.frames.tolist()
    return Drawing(
        video.path, video.label, frames, clip.stride, drawn.shown, str(sheet), str(movie),
        boundaries, last_frames,
    )  # fmt: skip


@dataclass(frozen=True)
class _Section:
    """A section of the page: a clip, or the last frames of several."""

    path: str
    name: str
    label: str | None
    what: str
    """Which frames."""
    pictures: Mapping[str, Picture]
    """By their captions."""
    sheet: str | None = None
    """Data URL."""


def _clip_on_page(drawn: _Drawn) -> _Section:
    clip, rows = drawn.clip, list(drawn.rows.values())
    captions = ["frames", f"run: {drawn.shown['run']}", f"random weights: {drawn.shown['random']}"]
    moving = [moving_picture(row, RATE, QUALITY) for row in rows]
    pictures = dict(zip(captions, moving, strict=True))
    pictures |= {caption: _still(field) for caption, field in drawn.boundaries.items()}
    what = f"frames {clip.frames.min()}–{clip.frames.max()}, stride {clip.stride}"
    return _section(clip, what, pictures, _still(heatmap.sheet(rows)).still)


def _last_frames_on_page(drawn: Sequence[_Drawn], columns: Sequence[NDArray[np.uint8]]) -> _Section:
    clips = [each.clip for each in drawn]
    captions = [f"stride {clip.stride}: frame {clip.frames[-1]}" for clip in clips]
    pictures = dict(zip(captions, map(_still, columns), strict=True))
    what = "last frames of the clips; from the top: the frame, run, random weights"
    return _section(clips[0], what, pictures)


def _section(
    clip: Clip, what: str, pictures: Mapping[str, Picture], sheet: str | None = None
) -> _Section:
    video = clip.query.video
    return _Section(video.path, Path(video.path).name, video.label, what, pictures, sheet)


def _still(picture: NDArray[np.uint8]) -> Picture:
    """Return a picture (H, W, 3) that does not move."""
    url = data_url(encode_webp(picture[None], RATE, quality=QUALITY), "webp")
    return Picture(url, url)
