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
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from vidssl_cli.base.console import warn
from vidssl_cli.base.escaping import escape
from vidssl_cli.contract.clips import ABSENT
from vidssl_cli.data.augment import prepare
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.media.encode import encode_png
from vidssl_cli.model.devices import World
from vidssl_cli.pages.clip_strip import (
    GAIN,
    describe,
    flow_pictures,
    motion,
    pictures,
    plot,
    strip,
    timeline,
    wheel,
)
from vidssl_cli.pages.html import data_url, write_page
from vidssl_cli.training.session import Session, build_loader, usable

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
    visits = list(_visits(loader, recipe, epoch, step, videos))
    subtitle = (
        f"{len(visits)} samples of a training on {len(used)} videos: "
        f"seed {recipe.train.seed}, epoch {epoch}, from step {step} on"
    )
    sections = [_introduction(recipe), *(_section(visit, recipe) for visit in visits)]
    if left_out:
        sections.append(_omissions(left_out))
    write_page(out, f"What {name} sees", subtitle, "\n".join(sections), style="preview.css")
    return len(visits), left_out


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


def _introduction(recipe: PretrainRecipe) -> str:
    """Say what is shown and to be told, and how to read the page."""
    told = "".join(_plugin("Pretext task", task) for task in recipe.pretext)
    return (
        f'<section class="about"><div>{_plugin("Sampler", recipe.sampler)}{told}</div>'
        '<div><div class="kicker">How to read this page</div>'
        f"<p>Every box is a clip. {_pictures_explained(recipe)} Numbers of frames count from 0: "
        '<b class="back">backwards</b> and <b class="again">repeated</b> ones are marked. '
        "The plot shows frame number against position in the clip, the bar where in the video its "
        "frames lie. Beside the name of a class stands its number; a label of – does not apply."
        "</p></div></section>"
    )


def _plugin(kind: str, options: Options) -> str:
    """Say what a plugin does, and with what options."""
    said = re.sub("``(.+?)``", r"<code>\1</code>", escape(inspect.getdoc(type(options)) or ""))
    paragraphs = "".join(f"<p>{text}</p>" for text in said.split("\n\n"))
    values = options.model_dump(mode="json", exclude={"name"})
    chosen = " · ".join(f"{key} {_option(value)}" for key, value in values.items())
    return (
        f'<div class="kicker">{kind} {escape(options.name)}</div>{paragraphs}'
        f'<p class="faint">{escape(chosen)}</p>'
    )


def _pictures_explained(recipe: PretrainRecipe) -> str:
    """Say what the pictures of a clip are, as HTML."""
    if recipe.input.mode == "residual":
        said = (
            "The network does not get its frames, but the differences from each frame to the next, "
            f"which are drawn {GAIN} times as strong around mid-grey; the last one stands twice."
        )
    else:
        said = "Frames have the colours that the network gets."
    if "flow" in recipe.streams():
        disc = data_url(encode_png(wheel()), "png")
        said += (
            " Optical flow from each frame to the next, from which labels are made, has the colour "
            f'of its direction <img class="wheel" src="{disc}" alt="red to the right, green to the '
            'upper left, blue to the lower left">, and is white where nothing moves.'
        )
    return said


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
    shared = {name: value for name, value in plan.labels.items() if not np.ndim(value)}
    rows = "\n".join(_row(visit, number, recipe) for number in range(len(plan.views)))
    label = f'<span class="label">{escape(video.label)}</span>' if video.label else ""
    return (
        f'<section><header><div class="kicker">Video #{visit.sample.video}</div>'
        f"<h2>{escape(Path(video.path).name)}{label}</h2>"
        f'<div class="faint">{" · ".join(facts)}</div>'
        f'<div class="path">{escape(video.path)}</div>{_labels(shared, recipe.sampler)}</header>\n'
        f"{rows}\n</section>"
    )


def _row(visit: Visit, number: int, recipe: PretrainRecipe) -> str:
    """Draw one clip of a video."""
    plan, count = visit.sample.plan, visit.video.frames or 1
    view, parameters = plan.views[number], visit.sample.parameters[number : number + 1]
    own = {name: value[number] for name, value in plan.labels.items() if np.ndim(value)}
    height, width = visit.sample.pictures.shape[-2:]
    augmentation = describe(parameters, view, (height, width))
    made = [_cell(name, words[number]) for name, words in visit.made]
    return (
        f'<article><div class="facts"><div class="kicker">View {number + 1}</div>'
        f"{_labels(own, recipe.sampler)}{plot(view.frames)}</div>"
        f"<div>{strip(_pictures(visit, number, recipe.input), view.frames)}"
        f"{timeline(view.frames, count)}"
        f'<div class="faint">{motion(view.frames, count)}</div>'
        f'<div class="faint">{escape(" · ".join(augmentation))}</div>{_list(made, "labels made")}'
        "</div></article>"
    )


def _pictures(visit: Visit, number: int, settings: Input) -> dict[str, NDArray[np.uint8]]:
    """Return the rows of pictures of a clip by what they are."""
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
    return rows


def _labels(labels: Mapping[str, Label], sampler: SamplerOptions) -> str:
    """List labels with what they mean; classes that nobody names are numbered."""
    counts, names = sampler.labels(), sampler.classes()

    def cell(name: str, value: Label) -> str:
        if value == ABSENT:
            return _cell(name, "–")
        number = f"{value:.4g}" if np.issubdtype(value.dtype, np.floating) else str(value)
        if not (count := counts.get(name, 0)):
            return _cell(name, number)
        if int(value) < len(named := names.get(name, ())):
            return _cell(name, named[int(value)], f"{number} of 0–{count - 1}")
        return _cell(name, number, f"of 0–{count - 1}")

    return _list([cell(name, value) for name, value in labels.items()])


def _cell(name: str, value: str, more: str = "") -> str:
    faint = f"<small>{escape(more)}</small>" if more else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}{faint}</dd></div>"


def _list(cells: Sequence[str], style: str = "labels") -> str:
    return f'<dl class="{style}">{"".join(cells)}</dl>' if cells else ""


def _option(value: object) -> str:
    if isinstance(value, list) and value:
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
