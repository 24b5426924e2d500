"""`vidssl index` and `vidssl retrieve`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidssl_cli.base.wording import counted
from vidssl_cli.cli.next_command import say_next, search_of
from vidssl_cli.cli.options import (
    AllDevices,
    AsJson,
    Checkpoint,
    Data,
    DataOptions,
    DataRoot,
    DecoderOption,
    Device,
    EngineOption,
    EveryOption,
    IndexFolder,
    OverwritePage,
    Run,
    ShardOption,
    Strict,
    Workers,
    expand,
    load_decoder,
    open_engine,
    read_every,
    refuse_page,
)

if TYPE_CHECKING:
    from vidssl_cli.search.build import Summary
    from vidssl_cli.search.retrieve import Answer
    from vidssl_cli.search.shards import ShardSummary


class Part(StrEnum):
    """Split of DATA."""

    ALL = "all"
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Level(StrEnum):
    """What is ranked."""

    VIDEO = "video"
    CLIP = "clip"
    MOMENT = "moment"


class GroupBy(StrEnum):
    """What has one hit at most."""

    VIDEO = "video"
    LABEL = "label"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(expand(index))
    app.command()(merge)
    app.command()(retrieve)


def index(
    run: Run,
    data: Data,
    out: Annotated[Path, typer.Option(metavar="INDEX", help="Folder of the index.")],
    *,
    part: Annotated[Part, typer.Option(help="Which videos of DATA to take.")] = Part.ALL,
    factory: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Flat (exact), Flat16, SQ, RaBitQ4, HNSW, IVF, PQ, or a FAISS factory string; by "
            "default Flat, and IVF,RaBitQ4 for more than 2 GiB of features.",
        ),
    ] = None,
    standardise: Annotated[
        bool | None,
        typer.Option(
            "--standardise/--no-standardise",
            help="Standardise features by the gallery; by default as the recipe says.",
        ),
    ] = None,
    every: EveryOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the index instead of adding to it.")
    ] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take out videos whose files are gone.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every byte of the index first.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on until stopped: add videos that appear in the folder DATA once they are "
            "complete.",
        ),
    ] = False,
    shard: ShardOption = None,
    engine: EngineOption = "local",
    reading: DataOptions,
    checkpoint: Checkpoint = "last",
    device: AllDevices = "auto",
    workers: Workers = None,
    decoder: DecoderOption = "pyav",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Make a searchable index of videos.

    New videos are added to an index that exists; those that it has are embedded again only if
    their files have changed. With --shard one of many jobs embeds its part, and `vidssl merge`
    makes the index.
    """
    from vidssl_cli.base.errors import SkippedMediaError, UsageError
    from vidssl_cli.cli.index_run import IndexRun
    from vidssl_cli.cli.watch import watched
    from vidssl_cli.data.shards import Shard
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.search.build import check_factory
    from vidssl_cli.search.store import verify_index

    if watch and strict:
        raise UsageError(
            "--strict is about how a command ends, which --watch does not",
            hint="leave one of them out",
        )
    options = load_decoder(decoder)
    if options and engine != "local":
        raise UsageError(f"--decoder {decoder} is for --engine local", hint="leave one of them out")
    whole = {"--overwrite": overwrite, "--prune": prune, "--watch": watch}
    own = Shard.parse(shard) if shard else None
    if own and (given := [option for option, is_given in whole.items() if is_given]):
        raise UsageError(
            f"{given[0]} is about the whole index, and --shard about a part of it",
            where=given[0],
            hint="delete the index first" if overwrite else "give it to `vidssl index` without "
            "--shard, after `vidssl merge`",
        )  # fmt: skip
    require_writable(out)
    windows = read_every(every)
    settings: dict[str, Any] = {"factory": factory, "standardise": standardise, "every": windows}
    with open_engine(engine) as cluster:
        settings["embedder"] = cluster.embedder(run, checkpoint, device) if cluster else None
        encoder = Encoder.load(
            run, "cpu" if cluster else device, checkpoint, workers=workers, every_gpu=True
        )
        check_factory(factory, encoder)
        if verify:
            verify_index(out)
        once = IndexRun(
            encoder, data, reading, part.value, out, overwrite, prune, settings, cluster, options
        )
        if watch:
            for summary in watched(once, Path(data), prune=prune):
                _show_summary(summary, as_json, line=True)
            return
        done = once.add_shard(own) if own else once.add()
    _show_summary(done, as_json)
    SkippedMediaError.raise_if(strict, len(done.broken), partial=once.partial)
    if not own:
        say_next(as_json, *search_of(out))


def merge(folder: IndexFolder, *, strict: Strict = False, as_json: AsJson = False) -> None:
    """Make one index of what `vidssl index --shard` has embedded.

    Run it once the jobs of all shards are done; their vectors are not copied.
    """
    from vidssl_cli.base.errors import SkippedMediaError
    from vidssl_cli.search.merge import merge_shards

    summary = merge_shards(folder)
    _show_summary(summary, as_json)
    SkippedMediaError.raise_if(strict, len(summary.broken))
    say_next(as_json, *search_of(folder))


def retrieve(
    folder: IndexFolder,
    queries: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY",
            help="A video, a moment (clip.mp4@12.5-15), an item of the gallery ('#12'), a folder.",
        ),
    ],
    top: Annotated[int, typer.Option(min=1, max=1_000_000, help="Hits of each query.")] = 10,
    level: Annotated[
        Level | None,
        typer.Option(
            help="Rank whole videos, their clips, or moments: neighbouring clips as one. By "
            "default moments for a query that is a moment or no longer than a clip, else videos.",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="Search only videos of which this is true, such as \"label = 'x' and duration > "
            '3"; columns: path, label, split, group, duration, fps, frames, width, height.',
        ),
    ] = None,
    group_by: Annotated[
        GroupBy | None, typer.Option("--group-by", help="Give one hit of each at most.")
    ] = None,
    exclude_self: Annotated[
        bool | None,
        typer.Option(
            "--exclude-self/--include-self",
            help="Whether the query's own video can be a hit; by default that of an item cannot.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--gallery", metavar="FILE.html", help="Write a page that shows the hits."),
    ] = None,
    overwrite: OverwritePage = False,
    foreign: Annotated[
        Path | None,
        typer.Option(
            "--foreign-faiss",
            metavar="FILE",
            help="Search this FAISS index of the same vectors; FAISS trusts what it reads.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Find the videos that are most similar to a query.

    Similarity is the cosine of their features.
    """
    from vidssl_cli.base.console import emit_json, say
    from vidssl_cli.base.errors import SkippedMediaError, UsageError
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.search.retrieve import as_json as answers_as_json
    from vidssl_cli.search.retrieve import retrieve as search
    from vidssl_cli.search.store import open_index

    if foreign and where is not None:
        raise UsageError(
            "--where compares all videos that are left, so --foreign-faiss has nothing to do",
            hint="leave one of them out",
        )
    if page:
        refuse_page(page, overwrite, "--gallery")
        require_writable(page)
    index = open_index(folder)
    answers, broken = search(
        index,
        queries,
        top=top,
        level=level.value if level else None,
        where=where,
        group_by=group_by.value if group_by else None,
        exclude_self=exclude_self,
        device=device,
        foreign=foreign,
        root=data_root,
    )
    if page:
        from vidssl_cli.pages.gallery import write_answers

        write_answers(page, answers, index)
        say(f"gallery: {page}")
    if as_json:
        emit_json(answers_as_json(answers, broken))
    else:
        for answer in answers:
            _show_answer(answer)
    SkippedMediaError.raise_if(strict, len(broken), "query")
    say_next(as_json, *search_of(folder))


def _show_summary(summary: Summary | ShardSummary, as_json: bool, *, line: bool = False) -> None:
    """Print what was done: for people, as a JSON document, or as one line of JSON."""
    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json
    from vidssl_cli.search.shards import ShardSummary

    if as_json:
        emit_json(asdict(summary), line=line)
        return
    if isinstance(summary, ShardSummary):
        left = f", {len(summary.broken)} left out" if summary.broken else ""
        emit(
            f"{summary.index}: shard {summary.shard} has {counted(summary.videos, 'video')} of "
            f"{summary.of}, {counted(summary.clips, 'clip')}{left}; once all shards are done: "
            f"vidssl merge {summary.index}"
        )
        return
    changes = f"{summary.added} added, {summary.changed} changed"
    for count, word in ((summary.renamed, "renamed"), (summary.removed, "removed")):
        changes += f", {count} {word}" if count else ""
    if summary.broken:
        changes += f", {len(summary.broken)} left out"
    emit(
        f"{summary.index}: {counted(summary.videos, 'video')}, {counted(summary.clips, 'clip')} of "
        f"{summary.dimension} dimensions, {summary.factory} ({changes})"
    )


def _show_answer(answer: Answer) -> None:
    from vidssl_cli.base.console import emit_table

    rows = []
    labelled = any(hit.label for hit in answer.hits)
    for hit in answer.hits:
        label = [hit.label] if labelled else []
        moment = f"{hit.start:.1f}-{hit.end:.1f} s"
        path = hit.path if hit.there else f"{hit.path} (not there)"
        rows.append([hit.rank, f"{hit.score:.3f}", moment, *label, f"#{hit.item}", path])
    columns = ["", "score", "moment", *(["label"] if labelled else []), "item", "video"]
    emit_table(answer.query.text, columns, rows)
