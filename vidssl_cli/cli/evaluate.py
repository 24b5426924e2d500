"""`vidssl evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vidssl_cli.cli import completion
from vidssl_cli.cli.next_command import say_next
from vidssl_cli.cli.options import (
    AllDevices,
    AsJson,
    Checkpoint,
    Data,
    DataOptions,
    DataSetName,
    Run,
    Strict,
    Workers,
    expand,
)

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expand(evaluate))


def evaluate(
    run: Run,
    data: Data,
    *,
    evaluator: Annotated[
        str,
        typer.Option(
            help="Protocol; `vidssl plugins` lists what is installed.",
            autocompletion=completion.evaluator,
        ),
    ] = "retrieval",
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="An option of the protocol; repeatable.",
            autocompletion=completion.setting,
        ),
    ] = None,
    reading: DataOptions,
    dataset: DataSetName = None,
    checkpoint: Checkpoint = "last",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for report.json, instead of RUN/evaluations/…"),
    ] = None,
    device: AllDevices = "auto",
    workers: Workers = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate a run by a protocol.

    Compares it with random weights, chance, and published figures of the same protocol and data
    set. The run keeps the report, for `vidssl report`, and the features, so that no clip is
    embedded twice.
    """
    from vidssl_cli.config.load import load_options
    from vidssl_cli.contract.hooks import EvaluatorOptions

    options = load_options(EvaluatorOptions, evaluator, overrides or ())

    from dataclasses import replace

    from vidssl_cli.base.console import emit_json, say, warn
    from vidssl_cli.base.errors import SkippedMediaError
    from vidssl_cli.config.known_datasets import identify_dataset
    from vidssl_cli.config.published import rows
    from vidssl_cli.evaluation.evaluate import as_json as report_as_json
    from vidssl_cli.evaluation.evaluate import evaluate as measure
    from vidssl_cli.evaluation.evaluate import folder_of, show
    from vidssl_cli.files.disk_space import require_writable
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.pages.charts import draw_all

    require_writable(out or run)
    store: Path | None = run / "features"
    try:
        require_writable(run / "features")
    except OSError as error:
        warn(f"{error.strerror}: {run}; features are not kept")
        store = None
    rows()  # fails now, not at the end, where a file cannot be read
    encoder = Encoder.load(run, device, checkpoint, workers=workers, every_gpu=True)
    left_out: list[Video] = []
    videos, broken = reading.open(data, left_out=left_out, workers=workers)

    def of_split(number: int) -> tuple[Sequence[Video], Sequence[Video]]:
        """Open the data with another official split."""
        lost: list[Video] = []
        return replace(reading, split=number).open(data, known=known, left_out=lost)[0], lost

    known = {video.path: video for video in videos}
    folder = out or folder_of(run, options, videos, checkpoint)
    report = measure(
        encoder,
        videos,
        options,
        folder,
        run,
        checkpoint,
        splits=of_split,
        store=store,
        dataset=identify_dataset(videos, dataset),
        split=reading.split,
        left_out=left_out,
    )
    for picture in draw_all(folder, report.figures):
        say(f"picture: {picture}")
    if as_json:
        emit_json(report_as_json(options, report))
    else:
        show(options, report)
    unused = sum(part["of"] - part["used"] for part in report.left_out.values())
    partial = sum(bool(video.problems) for video in videos)
    SkippedMediaError.raise_if(strict, max(unused, len(broken)), partial=partial)
    say_next(as_json, "report", run, "--out", run.with_name(f"{run.name}.html"))
