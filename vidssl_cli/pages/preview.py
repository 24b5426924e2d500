"""`vidssl data preview`: a page of the clips, labels and augmentation of a training step.

Plans, pixels and augmentation are those of training: the page shows what a run would get in a
given step of a given epoch.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.base.console import leave_out
from vidssl_cli.base.wording import counted
from vidssl_cli.contract.clips import ABSENT
from vidssl_cli.data.augment import prepare
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.media.encode import encode_png
from vidssl_cli.pages.clip_strip import (
    GAIN,
    boundary_pictures,
    describe,
    flow_pictures,
    follows,
    motion,
    pictures,
    plot,
    row_picture,
    timeline,
    wheel,
)
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.training.processes import World
from vidssl_cli.training.session import Session, build_loader, select_usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.config.sections import Input
    from vidssl_cli.contract.hooks import Options, SamplerOptions
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.data.loader import Loader
    from vidssl_cli.data.samples import Sample

    Label = NDArray[np.int64] | NDArray[np.float32] | np.int64 | np.float32
    """Of a view, or of the video."""


BOUNDARIES = tuple(
    f"{way} motion boundaries; last, their sum {name}"
    for way, name in (("horizontal", "M_u"), ("vertical", "M_v"))
)
"""Captions of rows, which fit a phone."""


@dataclass(frozen=True)
class Visit:
    """A video as it enters a batch."""

    video: Video
    sample: Sample
    clips: Tensor
    """(V, 3, T, S, S), what the network gets."""
    flow: Tensor | None
    """(V, 2, T - 1, S, S), what pretext tasks get, if one of them asks for it."""
    made: Sequence[tuple[str, Sequence[str]]]
    """Labels that pretext tasks make of clips: a name, and words for each view."""


def preview(
    name: str,
    recipe: PretrainRecipe,
    data: Sequence[Video],
    out: Path,
    *,
    videos: int = 6,
    epoch: int = 0,
    step: int = 0,
    broken: Sequence[MediaError] = (),
) -> tuple[int, list[MediaError]]:
    """Write a page of the first videos of a training step and of the steps after it.

    Args:
        name: Of the recipe.
        recipe: Of the training.
        data: Videos to train on, with their facts.
        out: The HTML file.
        videos: How many to draw.
        epoch: Pass over the data, from 0.
        step: Batch of the epoch, from 0.
        broken: Files of the data that a scan could not read.

    Returns:
        How many videos were drawn, and one error for each that is left out.

    Raises:
        UsageError: The data do not fill a batch, the sampler can use none of them, or the epoch
            has no such step.
        MediaError: No video of a batch can be read.
    """
    sampler = build_sampler(recipe.sampler, recipe.input)
    used, rejected = select_usable(recipe.taken(data), sampler)
    world = World(0, 1, torch.device("cpu"))
    loader = build_loader(recipe, recipe.input, sampler, used, Session(out, workers=0), world)
    left_out = [*broken, *rejected]
    loader.on_skip = lambda error: leave_out(error, left_out)
    shown = [_video(visit, recipe) for visit in _visits(loader, recipe, epoch, step, videos)]
    count = f"{len(shown)} sample{'s' * (len(shown) != 1)}"
    seed = recipe.train.seed
    write_page(
        out,
        "preview.html",
        title=f"What {name} sees",
        subtitle=f"{count} of a training on {len(used)} videos: "
        f"seed {seed}, epoch {epoch}, from step {step} on",
        plugins=[_plugin("Sampler", recipe.sampler)]
        + [_plugin("Pretext task", task) for task in recipe.pretext],
        gain=GAIN if recipe.input.mode == "residual" else None,
        wheel=data_url(encode_png(wheel()), "png") if "flow" in recipe.streams() else None,
        videos=shown,
        left_out=left_out,
    )
    return len(shown), left_out


def _visits(
    loader: Loader, recipe: PretrainRecipe, epoch: int, step: int, videos: int
) -> Iterator[Visit]:
    """Yield what can be read of the next videos in the epoch."""
    steps = range(step, max(step + 1, loader.steps))  # the first one even where there is none
    for number, drawn in zip(steps, range(0, videos, loader.order.batch_videos), strict=False):
        samples, batch = loader.peek(epoch, number, videos - drawn)
        made = [pair for task in recipe.pretext for pair in task.own_labels(batch).items()]
        for place, sample in enumerate(samples):
            rows = slice(place * len(sample.plan.views), (place + 1) * len(sample.plan.views))
            yield Visit(
                loader.videos[sample.video],
                sample,
                batch.clips[place],
                None if batch.flow is None else batch.flow[place],
                [(name, words[rows]) for name, words in made],
            )


@dataclass(frozen=True)
class _Plugin:
    """A plugin: what it does, and its options."""

    kind: str
    name: str
    paragraphs: Sequence[Sequence[str]]
    """Text of each; every second part is code."""
    options: Sequence[str]


@dataclass(frozen=True)
class _Label:
    """A label as it is shown."""

    name: str
    value: str
    more: str = ""


@dataclass(frozen=True)
class _View:
    """A clip on the page."""

    labels: Sequence[_Label]
    plot: Sequence[str]
    rows: Mapping[str, str]
    """Data URLs of rows of pictures, by their captions."""
    frames: Sequence[tuple[int, str]]
    """Numbers, and how each follows the one before."""
    timeline: Sequence[str]
    motion: str
    augmentation: Sequence[str]
    made: Sequence[_Label]
    """Labels that pretext tasks make of it."""


@dataclass(frozen=True)
class _ShownVideo:
    """A video on the page."""

    number: int
    name: str
    label: str | None
    facts: Sequence[str]
    path: str
    labels: Sequence[_Label]
    views: Sequence[_View]


def _plugin(kind: str, options: Options) -> _Plugin:
    said = inspect.getdoc(type(options)) or ""
    paragraphs = [re.split("``(.+?)``", text) for text in said.split("\n\n")]
    values = options.model_dump(mode="json", exclude={"name"})
    chosen = [f"{key} {_option(value)}" for key, value in values.items()]
    return _Plugin(kind, options.name, paragraphs, chosen)


def _video(visit: Visit, recipe: PretrainRecipe) -> _ShownVideo:
    video, plan = visit.video, visit.sample.plan
    facts = [
        counted(video.frames or 0, "frame"),
        f"{video.width} × {video.height} pixels",
    ]
    if video.fps:
        facts.insert(1, f"{(video.frames or 0) / video.fps:.1f} s at {video.fps:.4g} per second")
    if plan.geometry and plan.geometry.video != visit.sample.video:
        facts.append(f"crop and mirroring of video #{plan.geometry.video}")
    shared = {name: value for name, value in plan.labels.items() if not np.ndim(value)}
    return _ShownVideo(
        visit.sample.video,
        Path(video.path).name,
        video.label,
        facts,
        video.path,
        _labels(shared, recipe.sampler),
        [_view(visit, number, recipe) for number in range(len(plan.views))],
    )


def _view(visit: Visit, number: int, recipe: PretrainRecipe) -> _View:
    plan, count = visit.sample.plan, visit.video.frames or 1
    view, parameters = plan.views[number], visit.sample.parameters[number : number + 1]
    own = {name: value[number] for name, value in plan.labels.items() if np.ndim(value)}
    height, width = visit.sample.pictures.shape[-2:]
    frames, rows = view.frames, _pictures(visit, number, recipe.input)
    return _View(
        _labels(own, recipe.sampler),
        plot(frames),
        {what: row_picture(row, len(frames)) for what, row in rows.items()},
        list(zip(frames.tolist(), follows(frames), strict=True)),
        timeline(frames, count),
        motion(frames, count),
        describe(parameters, view, (height, width)),
        [_Label(name, words[number]) for name, words in visit.made],
    )


def _pictures(visit: Visit, number: int, settings: Input) -> dict[str, NDArray[np.uint8]]:
    """Return the rows of pictures of a clip, by their captions."""
    clip = visit.clips[number]
    rows = {"frames": pictures(clip, settings)}
    if settings.mode == "residual":
        plain = settings.model_copy(update={"mode": "rgb"})
        parameters = visit.sample.parameters[number : number + 1]
        frames = prepare([visit.sample.pictures[number]], parameters, plain)[0]
        rows = {"frames": pictures(frames, plain), "differences": pictures(clip, settings)}
    if visit.flow is not None:
        drawn, full = flow_pictures(visit.flow[number])
        rows[f"optical flow, full colour from {full:.2g} pixels on"] = drawn
        rows |= dict(zip(BOUNDARIES, boundary_pictures(visit.flow[number]), strict=True))
    return rows


def _labels(labels: Mapping[str, Label], sampler: SamplerOptions) -> list[_Label]:
    """Return labels with the names of their classes, or numbers where they have none."""
    counts, names = sampler.labels(), sampler.classes()

    def shown(name: str, value: Label) -> _Label:
        if value == ABSENT:
            return _Label(name, "–")
        number = f"{value:.4g}" if np.issubdtype(value.dtype, np.floating) else str(value)
        if not (count := counts.get(name, 0)):
            return _Label(name, number)
        if int(value) < len(named := names.get(name, ())):
            return _Label(name, named[int(value)], f"{number} of 0–{count - 1}")
        return _Label(name, number, f"of 0–{count - 1}")

    return [shown(name, value) for name, value in labels.items()]


def _option(value: object) -> str:
    if isinstance(value, list) and value:
        return ", ".join(map(_option, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
