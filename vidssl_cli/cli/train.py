"""`vidssl pretrain` and `vidssl finetune`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidssl_cli.base.wording import share
from vidssl_cli.cli.next_command import command_line, index_of, say_next, setting
from vidssl_cli.cli.options import (
    AsJson,
    Data,
    DataOptions,
    DataSetName,
    DecoderOption,
    Device,
    Overrides,
    RecipeName,
    Strict,
    expand,
    load_decoder,
)
from vidssl_cli.cli.packing import pack_words

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video

Out = Annotated[Path, typer.Option(metavar="RUN", help="Run directory to write.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run if there is one.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run if there is one.")]
Workers = Annotated[
    int | None, typer.Option(min=0, help="Decoding threads; one per core by default.")
]
OnNaN = Annotated[
    Literal["stop", "skip"],
    typer.Option(
        "--on-nan",
        help="What to do at a step whose loss is not finite: stop, or skip and count it.",
    ),
]
Loggers = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME",
        help="Send metrics there too: tensorboard, wandb, mlflow, or a plugin's; repeatable.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Take three steps to estimate time and memory; write nothing."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(expand(pretrain))
    app.command()(expand(finetune))


def pretrain(
    recipe: RecipeName,
    data: Data,
    out: Out,
    *,
    overrides: Overrides = None,
    reading: DataOptions,
    dataset: DataSetName = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    workers: Workers = None,
    decoder: DecoderOption = "pyav",
    on_nan: OnNaN = "stop",
    logger: Loggers = None,
    strict: Strict = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Pretrain a network on unlabelled video.

    Of data with splits, the training split is used. On several GPUs:
    torchrun --nproc-per-node 4 -m vidssl_cli pretrain …
    """
    from vidssl_cli.config.load import load_as, load_options
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.hooks import LoggerOptions

    chosen = load_as(PretrainRecipe, recipe, overrides or ())
    loggers = [load_options(LoggerOptions, name) for name in logger or ()]
    options = load_decoder(decoder)

    from dataclasses import asdict

    from vidssl_cli.base.console import emit, emit_json, say
    from vidssl_cli.data.manifest import training_part
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.training.dry_run import show
    from vidssl_cli.training.optimizer import why_epochs_matter
    from vidssl_cli.training.pretrain import pretrain as train
    from vidssl_cli.training.session import Session

    if not dry_run:
        require_writable(out)
    session = Session(
        out, resume, overwrite, device, workers, options,
        dry_run, dataset, reading.split, on_nan, loggers,
    )  # fmt: skip
    session.refuse_taken(chosen)
    videos, broken = reading.open(data)
    training = training_part(videos)
    say(f"pre-training on {share(len(training), len(videos), 'video')}")
    pack_first = command_line(*pack_words(chosen, data, reading.as_words()))
    unpacked = not any(video.packed for video in training)
    if unpacked and Path(data).is_dir() and not (dry_run or as_json):
        say(f"every clip is decoded from its file; to decode each file once: {pack_first}")
    outcome = train(chosen, training, session, broken)
    asked = ["--data", data, *reading.as_words(), *setting(overrides)]
    asked += [word for name in logger or () for word in ("--logger", name)]
    if outcome.cost:
        emit_json(asdict(outcome.cost)) if as_json else show(outcome.cost)
        if unpacked and outcome.cost.offered < outcome.cost.asked and not as_json:
            say(f"data loading holds training back; pack first: {pack_first}")
        say_next(as_json, "pretrain", recipe, *asked, "--out", out)
        return
    if as_json:
        counts = {"skipped": outcome.skipped, "skipped_steps": outcome.skipped_steps}
        emit_json({"run": str(out), "videos": len(training), **counts})
    else:
        emit(str(out))
    _judge(strict, outcome.skipped, training)
    if outcome.loss and not as_json:
        say(outcome.loss.describe())
        if outcome.loss.falls and not why_epochs_matter(chosen.train.schedule):
            longer = f"train.epochs={2 * chosen.train.epochs}"
            words = ["pretrain", recipe, *asked, "--set", longer, "--out", out, "--resume"]
            say(f"to train longer: {command_line(*words)}")
    say_next(as_json, "index", out, "--data", data, *reading.as_words(), "--out", index_of(out))


def finetune(
    recipe: RecipeName,
    source: Annotated[
        Path, typer.Option("--from", metavar="RUN", help="Run or exported model to start from.")
    ],
    data: Data,
    out: Out,
    *,
    overrides: Overrides = None,
    reading: DataOptions,
    dataset: DataSetName = None,
    scratch: Annotated[
        bool, typer.Option("--scratch", help="Start from random weights, for comparison.")
    ] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    workers: Workers = None,
    decoder: DecoderOption = "pyav",
    on_nan: OnNaN = "stop",
    logger: Loggers = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a network on labelled video, with a classifier."""
    from vidssl_cli.config.load import load_as, load_options
    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.contract.hooks import LoggerOptions

    chosen = load_as(FinetuneRecipe, recipe, overrides or ())
    loggers = [load_options(LoggerOptions, name) for name in logger or ()]
    options = load_decoder(decoder)

    from vidssl_cli.base.console import emit_json
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.training.finetune import finetune as train
    from vidssl_cli.training.session import Session

    require_writable(out)
    session = Session(
        out, resume, overwrite, device, workers, options,
        dataset=dataset, split=reading.split, on_nan=on_nan, loggers=loggers,
    )  # fmt: skip
    session.refuse_taken(chosen)
    left_out: list[Video] = []
    videos, broken = reading.open(data, left_out=left_out)
    report = train(
        chosen, videos, source, session, scratch=scratch, broken=broken, left_out=left_out
    )
    if as_json:
        emit_json({"run": str(out), **report})
    else:
        _show(report)
    _judge(strict, report["skipped"], videos)
    say_next(as_json, "report", out, "--out", out.with_name(f"{out.name}.html"))


def _judge(strict: bool, skipped: int, videos: Sequence[Video]) -> None:
    from vidssl_cli.base.errors import SkippedMediaError

    hint = "bad_media.jsonl in the run names those that were left out" if skipped else ""
    partial = sum(bool(video.problems) for video in videos)
    SkippedMediaError.raise_if(strict, skipped, hint=hint, partial=partial)


def _show(report: dict[str, Any]) -> None:
    from vidssl_cli.base.console import emit_table, say
    from vidssl_cli.config.compare_published import show
    from vidssl_cli.contract.reports import PublishedRow
    from vidssl_cli.data.coverage import describe

    metrics = ("clip_accuracy", "video_accuracy")
    rows: list[list[object]] = [
        [row["checkpoint"], *(f"{100 * row[m]:.1f}" for m in metrics)] for row in report["rows"]
    ]
    rows.append(["chance", *[f"{100 * report['chance']:.1f}"] * 2])
    counts = "".join(f", {key} {count}" for key, count in describe(report["left_out"]).items())
    emit_table(f"accuracy on test, percent{counts}", ["checkpoint", "clip", "video"], rows)
    show([PublishedRow(**row) for row in report["published"]], "finetune", metrics)
    if report["chosen_on"] == "test":
        say("best was chosen on the test split, since there is no split val: report last")
