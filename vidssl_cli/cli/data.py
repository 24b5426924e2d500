"""`vidssl data`: manifests, packed sets, scores, made-up videos; `cli.examine` has the rest."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli.next_command import new_run, say_next
from vidssl_cli.cli.options import (
    AsJson,
    DataArgument,
    EngineOption,
    ListOptions,
    OverwritePage,
    ShardOption,
    Strict,
    expand,
    open_engine,
    refuse_page,
)
from vidssl_cli.cli.packing import pack_words

if TYPE_CHECKING:
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.contract.videos import Video

data = typer.Typer(no_args_is_help=True, help="Scan, check, preview, pack and make videos.")

PackFormat = Literal["compact", "raw"]
FlowMethod = Literal["dis", "tvl1"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(data, name="data")


@data.command()
@expand
def scan(
    source: DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Manifest to write (.jsonl).")],
    *,
    shard: ShardOption = None,
    engine: EngineOption = "local",
    reading: ListOptions,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Decode every video once and write a manifest.

    Run again, it decodes only what is new or has changed, also after an interruption. With --shard
    one of many jobs decodes its part; the same command without it then writes the manifest.
    """
    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.base.errors import SkippedMediaError, UsageError

    if out.suffix != ".jsonl" or out.is_dir():
        raise UsageError(f"--out {out} is not a name for a manifest", hint="end it in .jsonl")
    if out.exists() and os.path.realpath(out) == os.path.realpath(source):
        raise UsageError(
            f"--out {out} is DATA itself, and rows of damaged videos would be lost",
            hint="choose another name",
        )

    from vidssl_cli.contract.videos import problem_rows
    from vidssl_cli.data.manifest import write_manifest
    from vidssl_cli.data.rescan import remembered
    from vidssl_cli.data.shards import Shard
    from vidssl_cli.files.disk_space import require_writable

    own = Shard.parse(shard) if shard else None
    require_writable(out)
    others: Counter[str] = Counter()
    take = own.every if own else None
    with open_engine(engine) as cluster, remembered(out, own) as (known, keep):
        videos, broken = reading.open(
            source, known=known, keep=keep, passed_over=others, take=take, engine=cluster
        )
        if not own:
            write_manifest(out, videos)
    problems = problem_rows(videos)
    if as_json:
        reasons = [error.row for error in broken]
        found = {"videos": len(videos), "broken": reasons, "problems": problems}
        splits = Counter(video.split or "none" for video in videos)
        document = {"manifest": str(out), "splits": splits, **found, "passed_over": others}
        emit_json(document | ({"shard": str(own)} if own else {}))
    elif own:
        found_here = f"shard {own} has {counted(len(videos), 'video')}, {len(broken)} left out"
        emit(f"{out}: {found_here}; once all shards are done: the same command without --shard")
    else:
        _summarise(_counted(out, videos, broken), videos)
    SkippedMediaError.raise_if(strict, len(broken), partial=len(problems))
    if not own:
        from vidssl_cli.config.load import load_as
        from vidssl_cli.config.recipe import PretrainRecipe

        say_next(as_json, *pack_words(load_as(PretrainRecipe, "default"), str(out)))


def _counted(out: Path, videos: Sequence[Video], broken: Sequence[MediaError]) -> str:
    partial = sum(bool(video.problems) for video in videos)
    used = f", {partial} of them with problems" if partial else ""
    return f"{out}: {counted(len(videos), 'video')}{used}, {len(broken)} left out"


def _summarise(title: str, videos: Sequence[Video]) -> None:
    from datetime import timedelta

    from vidssl_cli.base.console import emit_table

    rows = []
    for split in sorted({video.split for video in videos}, key=str, reverse=True):
        part = [video for video in videos if video.split == split]
        classes = {video.label for video in part} - {None}
        frames = sum(video.frames or 0 for video in part)
        seconds = round(sum(video.duration or 0 for video in part))
        rows.append((split, len(part), len(classes), frames, timedelta(seconds=seconds)))
    emit_table(title, ["split", "videos", "classes", "frames", "duration"], rows)


@data.command()
@expand
def pack(
    source: DataArgument,
    out: Annotated[Path, typer.Option(metavar="SET", help="Folder to make.")],
    *,
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Size of the pictures.")
    ] = "128x171",
    short_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=99_999,
            metavar="PIXELS",
            help="Length of their short side, instead of --size.",
        ),
    ] = None,
    form: Annotated[
        PackFormat,
        typer.Option("--format", help="JPEGs, about as large as the videos, or plain pixels."),
    ] = "compact",
    flow: Annotated[
        FlowMethod | None,
        typer.Option(help="Store optical flow too, by DIS or TV-L1; needs OpenCV."),
    ] = None,
    engine: EngineOption = "local",
    reading: ListOptions,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Decode every video once and store small pictures for training.

    Every command accepts SET as DATA. The same command again continues after an interruption, and
    adds what is new or has changed.
    """
    from vidssl_cli.base.console import emit_json, say
    from vidssl_cli.base.errors import SkippedMediaError

    resize = short_side or _parse_size(size)

    from vidssl_cli.contract.videos import problem_rows
    from vidssl_cli.data.pack import pack as make
    from vidssl_cli.files.disk_space import require_writable

    require_writable(out)
    with open_engine(engine) as cluster:
        videos, broken = reading.open(source, engine=cluster)
        made = make(
            videos, out, resize=resize, form=form, flow=flow, workers=reading.workers,
            engine=cluster,
        )  # fmt: skip
    broken = [*broken, *made.broken]
    problems = problem_rows(made.videos)
    if as_json:
        reasons = [error.row for error in broken]
        sizes = {"bytes": made.bytes, "source_bytes": made.source_bytes}
        found = {"videos": len(made.videos), "broken": reasons, "problems": problems}
        emit_json({"set": str(out), **found, **sizes})
    else:
        share = made.bytes / made.source_bytes
        say(f"{made.bytes / 1e9:.2f} GB, {share:.2f} times the videos' own files")
        _summarise(_counted(out, made.videos, broken), made.videos)
    SkippedMediaError.raise_if(strict, len(broken), partial=len(problems))
    say_next(as_json, "pretrain", "default", "--data", out, "--out", new_run("default"))


@data.command()
@expand
def scores(
    source: DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File of scores to write (.jsonl).")],
    *,
    flow: Annotated[
        FlowMethod, typer.Option(help="Optical flow, by DIS or TV-L1, where DATA holds none.")
    ] = "dis",
    size: Annotated[
        str, typer.Option(metavar="HEIGHTxWIDTH", help="Size at which flow is computed.")
    ] = "128x171",
    short_side: Annotated[
        int | None,
        typer.Option(
            min=1, max=99_999, metavar="PIXELS", help="Length of the short side, instead of --size."
        ),
    ] = None,
    crop: Annotated[
        int, typer.Option(min=4, help="Side of the square in the middle that is scored.")
    ] = 112,
    frames: Annotated[int, typer.Option(min=2, help="Frames of a clip.")] = 16,
    page: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html", help="Write a page of clips from easy to hard, with their motion."
        ),
    ] = None,
    overwrite: OverwritePage = False,
    reading: ListOptions,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Score the clips of every video for a curriculum.

    A clip scores high if its motion is in one place. The same command again keeps the scores in
    FILE of videos that have not changed.
    """
    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.base.errors import SkippedMediaError

    resize = short_side or _parse_size(size)
    if page:
        refuse_page(page, overwrite, "--page")

    from vidssl_cli.data.motion_scores import Scoring, score_videos
    from vidssl_cli.files.disk_space import require_writable

    require_writable(out)
    if page:
        require_writable(page)
    videos, broken = reading.open(source)
    scoring = Scoring(flow, resize, crop, frames)
    rows, unread = score_videos(videos, out, scoring, workers=reading.workers)
    broken = [*broken, *unread]
    if page:
        from vidssl_cli.pages.difficulty import write_ranking

        write_ranking(page, videos, rows, scoring)
        say(f"page: {page}")
    clips = sum(len(row.scores) for row in rows)
    if as_json:
        reasons = [error.row for error in broken]
        emit_json({"scores": str(out), "videos": len(rows), "clips": clips, "broken": reasons})
    else:
        found = f"{counted(clips, 'clip')} of {counted(len(rows), 'video')}"
        emit(f"{out}: {found}, {counted(len(broken), 'video')} left out")
    SkippedMediaError.raise_if(strict, len(broken))


def _parse_size(text: str) -> tuple[int, int]:
    from vidssl_cli.base.errors import UsageError

    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if not match:
        raise UsageError(f"--size {text} is not a size", hint="HEIGHTxWIDTH, such as 128x171")
    return int(match[1]), int(match[2])


@data.command()
def synth(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make.")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other videos.")] = 0,
    per_class_train: Annotated[int, typer.Option(min=1, help="Training videos of a class.")] = 40,
    per_class_test: Annotated[int, typer.Option(min=0, help="Test videos of a class.")] = 25,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Motions to make; all of them by default.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace videos made before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make short videos whose classes differ only in motion."""
    from vidssl_cli.base.console import emit_json
    from vidssl_cli.data.synth import MOTIONS, VIDEOS, synthesise

    motions = list(dict.fromkeys(classes.split(","))) if classes else list(MOTIONS)
    videos = synthesise(
        out,
        seed=seed,
        per_class=(per_class_train, per_class_test),
        motions=motions,
        overwrite=overwrite,
    )
    manifest = out / VIDEOS
    if as_json:
        emit_json({"manifest": str(manifest), "videos": len(videos), "classes": motions})
    else:
        _summarise(f"{manifest}: {counted(len(videos), 'video')}", videos)
    say_next(as_json, "pretrain", "demo", "--data", manifest, "--out", new_run("demo"))
