"""`vidssl visualize` and `vidssl map`."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vidssl_cli.cli.next_command import say_next, search_of
from vidssl_cli.cli.options import (
    AsJson,
    Checkpoint,
    DataRoot,
    Device,
    IndexFolder,
    OverwritePage,
    Run,
    Strict,
    refuse_page,
)


class Method(StrEnum):
    """What to draw."""

    ATTENTION = "attention"
    GUIDED_BACKPROP = "guided_backprop"


class Projection(StrEnum):
    """How vectors are projected on a plane."""

    PCA = "pca"
    UMAP = "umap"


class Time(StrEnum):
    """How maps are interpolated from a layer's frames to those of the clip."""

    LINEAR = "linear"
    NEAREST = "nearest"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(visualize)
    app.command("map")(map_)


def visualize(
    run: Run,
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO", help="A video, a moment (clip.mp4@12.5-15), a folder, a manifest."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for pictures and a page.")],
    method: Annotated[Method, typer.Option(help="What to draw.")] = Method.ATTENTION,
    tap: Annotated[
        str | None,
        typer.Option(
            help="Layer; by default conv5, or for guided_backprop the predicted class, "
            "or the representation where there is no classifier."
        ),
    ] = None,
    decision: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL[=CLASS]",
            help="For guided_backprop, a decision of the run's pretext tasks, such as "
            "transform=warp; without CLASS the one that it decides for.",
        ),
    ] = None,
    time: Annotated[
        Time,
        typer.Option(help="How maps are interpolated from a layer's frames to those of the clip."),
    ] = Time.LINEAR,
    clips: Annotated[
        int, typer.Option(min=1, help="Clips of each video; a single one is in its middle.")
    ] = 1,
    stride: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Distance between two frames of a clip, or several to draw a clip at each; by "
            "default the run's.",
        ),
    ] = None,
    boundaries: Annotated[
        bool,
        typer.Option(
            "--boundaries", help="Also draw where motion changes in the clip; needs OpenCV."
        ),
    ] = False,
    side: Annotated[
        int, typer.Option(min=16, metavar="PIXELS", help="Side of the pictures.")
    ] = 128,
    singles: Annotated[
        bool, typer.Option("--frames", help="Also write every frame as a picture.")
    ] = False,
    checkpoint: Checkpoint = "last",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into a folder that is not empty.")
    ] = False,
    data_root: DataRoot = None,
    device: Device = "auto",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Draw attention or saliency maps of a network.

    For every clip a sheet (.png) and a video (.mp4) show its frames, the maps of the run, and those
    of the same network with random weights. DIR/index.html shows all of them.
    """
    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.base.errors import SkippedMediaError
    from vidssl_cli.pages.attention import visualize as draw
    from vidssl_cli.pages.attention_maps import Settings

    settings = Settings(
        method.value, tap, decision, time.value, clips, _strides(stride), boundaries, side, singles
    )
    drawings, broken = draw(
        run, videos, out, settings, checkpoint=checkpoint, device=device, overwrite=overwrite,
        root=data_root,
    )  # fmt: skip
    page = out / "index.html"
    if as_json:
        reasons = [error.row for error in broken]
        emit_json(
            {
                "page": str(page),
                "method": settings.method,
                "clips": [asdict(drawing) for drawing in drawings],
                "broken": reasons,
            }
        )
    else:
        for drawing in drawings:
            emit(drawing.sheet)
        emit(str(page))
    SkippedMediaError.raise_if(strict, len(broken))


def _strides(text: str | None) -> tuple[int, ...]:
    """Read the values of --stride, each once.

    Raises:
        UsageError: They are no whole numbers from 1 on.
    """
    from vidssl_cli.base.errors import UsageError

    if text is None:
        return ()
    if not re.fullmatch(r"[1-9]\d{0,4}(,[1-9]\d{0,4})*", text):
        raise UsageError(
            f"--stride {text} is not a list of strides", hint="whole numbers, such as 1,2,3,4"
        )
    return tuple(dict.fromkeys(map(int, text.split(","))))


def map_(
    folder: IndexFolder,
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="Page to write.")],
    projection: Annotated[
        Projection, typer.Option(help="PCA, or UMAP where umap-learn is installed.")
    ] = Projection.PCA,
    moving: Annotated[
        int,
        typer.Option(
            min=0, help="Most videos that are animated; each takes 5 to 15 kB of the page."
        ),
    ] = 400,
    overwrite: OverwritePage = False,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Draw the videos of an index as a map.

    Videos with similar features are close together, and colours are labels. Pointing at a video,
    or tapping it, plays it.
    """
    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.base.errors import SkippedMediaError

    refuse_page(out, overwrite)

    from vidssl_cli.pages.map import write_map
    from vidssl_cli.search.store import open_index

    summary = write_map(out, open_index(folder), projection=projection.value, moving=moving)
    if as_json:
        emit_json(asdict(summary))
    else:
        emit(summary.page)
    SkippedMediaError.raise_if(strict, len(summary.broken))
    say_next(as_json, *search_of(folder))
