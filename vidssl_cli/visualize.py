"""`vidssl visualize`: where a network looks in clips, beside where it looks with random weights.

Letters: T frames, S side of the pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F

from vidssl_cli import augment, heat, pages, runs, saliency
from vidssl_cli.checkpoint import load_weights, read_tensors
from vidssl_cli.clips import Windows
from vidssl_cli.console import track, warn
from vidssl_cli.devices import place
from vidssl_cli.embed import Encoder
from vidssl_cli.encode import encode_png, encode_webp, write_mp4
from vidssl_cli.errors import MediaError, UsageError, VidsslError
from vidssl_cli.model import FinetuneLearner
from vidssl_cli.pooling import check_tap, pool_tap
from vidssl_cli.queries import Query, read_query
from vidssl_cli.recipe import FinetuneRecipe
from vidssl_cli.recipe_files import load
from vidssl_cli.samples import decode_views
from vidssl_cli.streams import cut_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Method = Literal["attention", "guided_backprop"]

CUSTOMARY = "conv5"
"""The tap whose attention is drawn where a network has it, as in the papers."""
RATE = 8.0
"""Pictures per second of what moves: slow enough to follow a map."""
CALIBRATION_CLIPS = 32
"""Clips, of all videos, that set the norms' statistics of the network with random weights."""
BRIGHTEST = 0.998
"""Share of the values of a gradient that lie within the scale of colours."""


@dataclass(frozen=True)
class Settings:
    """What to draw, and how."""

    method: Method = "attention"
    tap: str | None = None
    """Layer; None stands for conv5, or for what the classifier says."""
    time: saliency.Time = "linear"
    """How few frames of a layer become those of the clip."""
    clips: int = 1
    """Of each video, evenly spaced; a single one is its middle."""
    side: int = 128
    """S, of the pictures."""
    singles: bool = False
    """Whether every frame is written as a picture of its own, too."""


@dataclass(frozen=True)
class Drawing:
    """What was drawn of one clip."""

    video: str
    label: str | None
    frames: list[int]
    """Numbers of the frames that the network saw."""
    shown: dict[str, str]
    """What is shown of each set of weights, ``run`` and ``random``."""
    sheet: str
    """Picture: a row of frames, one of the run's maps, one of the random network's."""
    movie: str
    """The same as a video, side by side."""


class Eye:
    """A network, with its classifier if it has one, and what it looks at."""

    def __init__(
        self, encoder: Encoder, learner: FinetuneLearner | None, names: Sequence[str]
    ) -> None:
        self.encoder = encoder
        self.learner = learner
        self.names = names
        encoder.backbone.requires_grad_(False)
        if learner:
            place(learner, encoder.device)
            learner.eval()

    def attention(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return the map (T, S, S) of a clip (1, 3, T, ., .), from 0 to 1, and what it is of."""
        taps = self.encoder.taps_of(clip)
        maps = [name for name, tap in taps.items() if tap.ndim == 5]
        name = settings.tap or (CUSTOMARY if CUSTOMARY in maps else maps[-1])
        if name not in maps:
            raise UsageError(
                f"the tap {name} is a vector here, so nothing in it lies anywhere",
                where="--tap",
                hint=f"these have time and space: {', '.join(maps)}",
            )
        cells = saliency.unit(saliency.energy(taps[name][0]))
        size = (clip.shape[2], settings.side, settings.side)
        return saliency.min_max(saliency.spread(cells, size, settings.time)), f"attention of {name}"

    def guided_backprop(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return the same by guided backpropagation of what `_score` says."""
        with torch.enable_grad():
            clip = clip.detach().clone().requires_grad_()
            score, said = self._score(clip, settings)
            gradient = saliency.guided_gradient(score, clip)
        values = torch.from_numpy(saliency.without_median(gradient[0])).amax(0)
        limit = float(np.quantile(values.numpy(), BRIGHTEST))
        values = saliency.min_max(values.clamp(max=limit))
        return saliency.spread(values, (clip.shape[2], settings.side, settings.side)), said

    def _score(self, clip: Tensor, settings: Settings) -> tuple[Tensor, str]:
        """Return what to propagate back, and its name.

        It is the logit of the predicted class if there is a classifier and no tap was asked for,
        and else the length of the representation: pooled as the run's recipe says if it is the
        recipe's tap, averaged over time and space if it is another.
        """
        if self.learner and settings.tap is None:
            logits = self.learner.logits(clip[None], torch.float32)[0, 0]
            best = int(logits.argmax())
            return logits[best], f"logit of {self.names[best]}"
        evaluation = self.encoder.evaluation
        tap = settings.tap or evaluation.tap
        pool = evaluation.pool if tap == evaluation.tap else "gap"
        vector = pool_tap(self.encoder.backbone(clip)[tap], pool)
        return vector.norm(), f"length of {tap}"


def visualize(
    run: Path,
    texts: Sequence[str],
    out: Path,
    settings: Settings,
    *,
    checkpoint: str = "last",
    device: str = "auto",
    overwrite: bool = False,
) -> tuple[list[Drawing], list[MediaError]]:
    """Draw where a network looks in some videos: pictures, videos, and a page of all of it.

    Args:
        run: Run directory or exported model.
        texts: Videos, moments of videos, folders or lists, as `vidssl retrieve` takes them.
        out: Folder to write to.
        settings: What to draw.
        checkpoint: Of a run, ``last`` or ``best``.
        device: Where to compute.
        overwrite: Write into a folder that holds something.

    Returns:
        What was drawn, and an error for each video that cannot be read, which was told on stderr.

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
    clips = _read(encoder, texts, settings, broken)
    if not clips:
        raise VidsslError(
            f"none of {len(broken)} videos can be read", hint="see the warnings above"
        )
    eyes = _eyes(run, encoder, checkpoint, [clip.query for clip in clips])
    out.mkdir(parents=True, exist_ok=True)
    drawings, sections = [], []
    for clip in track(clips, "clips", len(clips)):
        maps, shown = {}, {}
        for weights, eye in eyes.items():
            look = eye.attention if settings.method == "attention" else eye.guided_backprop
            values, shown[weights] = look(encoder.prepare([clip.decoded]), settings)
            maps[weights] = values.cpu().numpy()
        pictures = {"frames": clip.seen(encoder.card.input.crop, settings.side)}
        pictures |= {name: heat.overlay(pictures["frames"], value) for name, value in maps.items()}
        drawings.append(_write(out, clip, pictures, shown, singles=settings.singles))
        sections.append(_section(clip, pictures, shown))
    subtitle = f"{settings.method}, {encoder.card.backbone.name} of {run}, {len(clips)} clips"
    content = "\n".join([_scale(), *sections])
    pages.write_page(
        out / "index.html", "Where the network looks", subtitle, content, style="visualize.css"
    )
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
    encoder: Encoder, texts: Sequence[str], settings: Settings, broken: list[MediaError]
) -> list[Clip]:
    """Read the clips of all videos; those that cannot be read are told and left out."""
    queries: list[Query] = []
    clips: list[Clip] = []
    for text in texts:
        try:
            queries += read_query(text, (), broken)
        except MediaError as error:
            _leave_out(error, broken)
    windows = Windows(clips=settings.clips, stride=encoder.evaluation.stride)
    for number, query in enumerate(track(queries, "reading", len(queries)), 1):
        frames = encoder.views(query.video, windows, query.moment)
        try:
            decoded = decode_views(query.video, list(frames), encoder.card.input.resize)
        except MediaError as error:
            _leave_out(error, broken)
            continue
        stem = re.sub(r"[^\w.-]+", "_", Path(query.video.path).stem)[:60]
        for position, (numbers, pictures) in enumerate(zip(frames, decoded, strict=True), 1):
            name = f"{number:03d}-{stem}" + (f"-{position}" if settings.clips > 1 else "")
            clips.append(Clip(query, name, numbers, pictures))
    return clips


def _leave_out(error: MediaError, broken: list[MediaError]) -> None:
    warn(f"{error.where}: {error}; it is left out")
    broken.append(error)


def _eyes(
    run: Path, encoder: Encoder, checkpoint: str, queries: Sequence[Query]
) -> Mapping[str, Eye]:
    """Return the run's network, and the same with random weights."""
    videos = list({query.video.path: query.video for query in queries}.values())
    random = encoder.randomised()
    videos = videos[:CALIBRATION_CLIPS]
    random.calibrate(videos, [], clips=ceil(CALIBRATION_CLIPS / len(videos)))
    learner, names = _classifier(run, encoder, checkpoint)
    untrained = None
    if learner:
        recipe = load(run / "recipe.yaml")
        assert isinstance(recipe, FinetuneRecipe)
        untrained = FinetuneLearner(cast(Any, random.backbone), len(names), recipe)
    return {"run": Eye(encoder, learner, names), "random": Eye(random, untrained, names)}


def _classifier(
    run: Path, encoder: Encoder, checkpoint: str
) -> tuple[FinetuneLearner | None, Sequence[str]]:
    """Return the classifier of a fine-tuned run, on the encoder's backbone, and its classes."""
    if not (run / "recipe.yaml").is_file():
        return None, ()
    recipe = load(run / "recipe.yaml")
    if not isinstance(recipe, FinetuneRecipe):
        return None, ()
    names = runs.read_facts(run)["classes"]
    learner = FinetuneLearner(cast(Any, encoder.backbone), len(names), recipe)
    source = runs.checkpoint_of(run, checkpoint)
    load_weights(learner, read_tensors(source), source)
    return learner, names


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
    sheet.write_bytes(encode_png(heat.sheet(rows)))
    write_mp4(movie, heat.side_by_side(rows), RATE, crf=18)
    if singles:
        (out / clip.name).mkdir(exist_ok=True)
        for kind, sequence in pictures.items():
            for number, picture in enumerate(sequence):
                path = out / clip.name / f"{number:03d}-{kind}.png"
                path.write_bytes(encode_png(picture))
    video = clip.query.video
    return Drawing(video.path, video.label, clip.frames.tolist(), shown, str(sheet), str(movie))


def _scale() -> str:
    """Return what explains the colours."""
    colours = ",".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in heat.SCALE)
    return (
        '<div class="scale"><span>least</span>'
        f'<i style="background:linear-gradient(90deg,{colours})"></i><span>most, in this clip'
        "</span></div>"
    )


def _section(clip: Clip, pictures: Mapping[str, NDArray[np.uint8]], shown: dict[str, str]) -> str:
    """Draw a clip for the page."""
    video = clip.query.video
    rows = list(pictures.values())
    moving = [pages.data_url(encode_webp(row, RATE, quality=75), "webp") for row in rows]
    still = [
        pages.data_url(encode_webp(row[len(row) // 2][None], RATE, quality=75), "webp")
        for row in rows
    ]
    titles = ["frames", f"run: {shown['run']}", f"random weights: {shown['random']}"]
    figures = "".join(
        f'<figure><picture><source media="(prefers-reduced-motion: reduce)" srcset="{stop}">'
        f'<img src="{go}" alt=""></picture><figcaption>{escape(title)}</figcaption></figure>'
        for go, stop, title in zip(moving, still, titles, strict=True)
    )
    sheet = pages.data_url(encode_webp(heat.sheet(rows)[None], RATE, quality=75), "webp")
    label = f' <span class="label">{escape(video.label)}</span>' if video.label else ""
    first, last = clip.frames.min(), clip.frames.max()
    return (
        f"<section><header><h2>{escape(Path(video.path).name)}{label}</h2>"
        f'<div class="faint">frames {first}–{last}</div>'
        f'<div class="path">{escape(video.path)}</div></header>'
        f'<div class="trio">{figures}</div>'
        f'<div class="strip"><img src="{sheet}" alt="frames, run, random weights" loading="lazy">'
        "</div></section>"
    )
