"""`vidssl data preview`: a page of what the network gets, for the eye to judge.

Plans, pixels and augmentation are the training's own: the page shows what a run would see in a
given step of a given epoch.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.clips import ABSENT
from vidssl_cli.console import warn
from vidssl_cli.devices import World
from vidssl_cli.pages import write_page
from vidssl_cli.pretrain import Session, build_loader, usable
from vidssl_cli.rate import build_sampler
from vidssl_cli.strips import GAIN, describe, motion, plot, strip, timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from vidssl_cli.batches import Loader
    from vidssl_cli.errors import MediaError
    from vidssl_cli.recipe import PretrainRecipe
    from vidssl_cli.samples import Sample
    from vidssl_cli.videos import Video

    Label = NDArray[np.int64] | NDArray[np.float32] | np.int64 | np.float32


@dataclass(frozen=True)
class Visit:
    """A video as it enters a batch."""

    video: Video
    sample: Sample
    clips: Tensor
    """(V, 3, T, S, S), what the network gets."""


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
    """Write a page of the first videos of a training step, and of the steps after it.

    Args:
        name: What to call the recipe.
        recipe: What would be trained.
        data: The videos to train on, with their facts.
        out: The HTML file.
        videos: How many to draw.
        epoch: Pass over the data, from 0.
        step: Batch of the epoch, from 0.
        broken: Files of the data that a scan could not read.

    Returns:
        How many videos were drawn, and one error for each that is left out.

    Raises:
        UsageError: the data do not fill a batch, the sampler can use none of them, or the epoch
            has no such step.
        MediaError: no video of a batch can be read.
    """
    sampler = build_sampler(recipe.sampler, recipe.input)
    used, rejected = usable(recipe.taken(data), sampler)
    world = World(0, 1, torch.device("cpu"))
    loader = build_loader(recipe, recipe.input, sampler, used, Session(out, workers=0), world)
    left_out = [*broken, *rejected]

    def skip(error: MediaError) -> None:
        warn(f"{error.where}: {error}; it is left out")
        left_out.append(error)

    loader.on_skip = skip
    visits = list(_visits(loader, epoch, step, videos))
    subtitle = (
        f"{len(visits)} samples of a training on {len(used)} videos: "
        f"seed {recipe.train.seed}, epoch {epoch}, from step {step} on"
    )
    sections = [_introduction(recipe), *(_section(visit, recipe) for visit in visits)]
    if left_out:
        sections.append(_omissions(left_out))
    write_page(out, f"What {name} sees", subtitle, "\n".join(sections), style="preview.css")
    return len(visits), left_out


def _visits(loader: Loader, epoch: int, step: int, videos: int) -> Iterator[Visit]:
    """Yield what can be read of the next videos in the epoch."""
    steps = range(step, max(step + 1, loader.steps))  # the first one even where there is none
    for number, drawn in zip(steps, range(0, videos, loader.batch_videos), strict=False):
        samples, batch = loader.peek(epoch, number, videos - drawn)
        for sample, clips in zip(samples, batch.clips, strict=True):
            yield Visit(loader.videos[sample.video], sample, clips)


def _introduction(recipe: PretrainRecipe) -> str:
    """Say what the sampler does, and how to read the page."""
    said = re.sub(
        "``(.+?)``", r"<code>\1</code>", escape(inspect.getdoc(type(recipe.sampler)) or "")
    )
    paragraphs = "".join(f"<p>{text}</p>" for text in said.split("\n\n"))
    options = recipe.sampler.model_dump(mode="json", exclude={"name"})
    chosen = " · ".join(f"{key} {_option(value)}" for key, value in options.items())
    pixels = (
        f"Pictures are differences of consecutive frames, drawn {GAIN} times as strong around "
        "mid-grey; the last one stands twice."
        if recipe.input.mode == "residual"
        else "Pictures have the colours that the network gets."
    )
    return (
        f'<section class="about"><div><div class="kicker">Sampler {escape(recipe.sampler.name)}'
        f'</div>{paragraphs}<p class="faint">{escape(chosen)}</p></div>'
        '<div><div class="kicker">How to read this page</div>'
        f"<p>Every row is a clip. {pixels} Below them stand frame numbers, from 0: "
        '<b class="back">backwards</b> and <b class="again">repeated</b> ones are marked. '
        "The plot shows frame number against position in the clip, the bar where in the video its "
        "frames lie. A label of – does not apply.</p></div></section>"
    )


def _section(visit: Visit, recipe: PretrainRecipe) -> str:
    """Draw a video."""
    video, plan = visit.video, visit.sample.plan
    facts = [
        f"{video.frames} frame{'s' * (video.frames != 1)}",
        f"{video.width} × {video.height} pixels",
    ]
    if video.fps:
        facts.insert(1, f"{(video.frames or 0) / video.fps:.1f} s at {video.fps:.4g} per second")
    if plan.geometry and plan.geometry.video != visit.sample.video:
        facts.append(f"crop and mirroring of video #{plan.geometry.video}")
    classes = recipe.sampler.labels()
    shared = {name: value for name, value in plan.labels.items() if not np.ndim(value)}
    rows = "\n".join(_row(visit, number, recipe, classes) for number in range(len(plan.views)))
    label = f'<span class="label">{escape(video.label)}</span>' if video.label else ""
    return (
        f'<section><header><div class="kicker">Video #{visit.sample.video}</div>'
        f"<h2>{escape(Path(video.path).name)}{label}</h2>"
        f'<div class="faint">{" · ".join(facts)}</div>'
        f'<div class="path">{escape(video.path)}</div>{_labels(shared, classes)}</header>\n'
        f"{rows}\n</section>"
    )


def _row(visit: Visit, number: int, recipe: PretrainRecipe, classes: Mapping[str, int]) -> str:
    """Draw one clip of a video."""
    plan, count = visit.sample.plan, visit.video.frames or 1
    view = plan.views[number]
    own = {name: value[number] for name, value in plan.labels.items() if np.ndim(value)}
    height, width = visit.sample.pictures.shape[-2:]
    augmentation = describe(visit.sample.parameters[number : number + 1], view, (height, width))
    return (
        f'<article><div class="facts"><div class="kicker">View {number + 1}</div>'
        f"{_labels(own, classes)}{plot(view.frames)}</div>"
        f"<div>{strip(visit.clips[number], view.frames, recipe.input)}"
        f"{timeline(view.frames, count)}"
        f'<div class="faint">{motion(view.frames, count)}</div>'
        f'<div class="faint">{escape(" · ".join(augmentation))}</div></div></article>'
    )


def _labels(labels: Mapping[str, Label], classes: Mapping[str, int]) -> str:
    """List labels with their values, and how many classes the sampler says there are."""

    def cell(name: str, value: Label) -> str:
        count = classes.get(name, 0)
        range_ = f"<small>of 0–{count - 1}</small>" if count and (value != ABSENT).all() else ""
        return f"<div><dt>{escape(name)}</dt><dd>{escape(_value(value))}{range_}</dd></div>"

    cells = "".join(cell(name, value) for name, value in labels.items())
    return f'<dl class="labels">{cells}</dl>' if cells else ""


def _value(value: Label) -> str:
    return ", ".join("–" if each == ABSENT else f"{each:.6g}" for each in np.ravel(value))


def _option(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_option, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _omissions(left_out: Sequence[MediaError]) -> str:
    """Name the videos that cannot be used."""
    rows = "".join(
        f'<li><span class="path">{escape(str(error.where))}</span> {escape(str(error))}</li>'
        for error in left_out
    )
    state = " open" if len(left_out) <= 10 else ""
    title = f"Left out: {len(left_out)} that cannot be used"
    return f"<section><details{state}><summary>{title}</summary><ul>{rows}</ul></details></section>"
