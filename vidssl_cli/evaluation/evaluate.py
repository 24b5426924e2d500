"""`vidssl evaluate`: measures a run by a protocol, and compares it with published figures."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.console import emit_table
from vidssl_cli.config.compare_published import Measured, closest_published, seen, splits
from vidssl_cli.config.compare_published import show as show_published
from vidssl_cli.config.published import Setting
from vidssl_cli.data.coverage import describe
from vidssl_cli.data.manifest import digest
from vidssl_cli.evaluation.study import EncoderStudy, Splits
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.model.run_directory import REPORT, identify

if TYPE_CHECKING:
    from vidssl_cli.config.sections import DataSet
    from vidssl_cli.contract.hooks import EvaluatorOptions
    from vidssl_cli.contract.reports import Report
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.card import Card
    from vidssl_cli.model.encoder import Encoder


def evaluate(
    encoder: Encoder,
    data: Sequence[Video],
    options: EvaluatorOptions,
    folder: Path | None = None,
    run: Path | None = None,
    checkpoint: str = "last",
    splits: Splits | None = None,
    store: Path | None = None,
    dataset: DataSet | None = None,
    split: int = 1,
    left_out: Sequence[Video] = (),
) -> Report:
    """Measure a network by a protocol; leave ``report.json`` in the folder if one is given.

    Args:
        encoder: what is measured.
        data: videos with labels and splits.
        options: the protocol.
        folder: for files.
        run: directory that the encoder is from; the protocol ``pretext`` needs it.
        checkpoint: of the run.
        splits: opens the data with another official split.
        store: folder in which features are kept for later.
        dataset: what the data are; published rows are of the same.
        split: which official split of it.
        left_out: videos that the data name and that cannot be used.

    Raises:
        UsageError: the data lack labels or splits, or the protocol does not fit the network.
        VidsslError: a video cannot be read.
    """
    study = EncoderStudy(encoder, data, folder, run, checkpoint, splits, store, left_out)
    report = options.build()(study)
    report.left_out = study.coverage
    report.facts |= describe(study.coverage)
    report.published = closest_published(_measured(options, report, encoder.card, dataset, split))
    if folder is not None:
        document = as_json(options, report) | {
            "network": encoder.card.model_dump(mode="json"),
            "data": digest(data),
            "run": run and identify(run),
            "checkpoint": checkpoint,
            "trained": encoder.trained,  # the run may be trained further
            "argv": sys.argv,
        }
        atomic_write(folder / REPORT, sealed_json.render(document))
    return report


def _measured(
    options: EvaluatorOptions, report: Report, card: Card, dataset: DataSet | None, split: int
) -> Measured:
    """Return how a report was made, in the settings of published rows."""
    said = options.model_dump(mode="json") | report.facts
    said["splits"] = splits(said.get("splits") or [split])
    return Measured(
        evaluator=options.name,
        dataset=dataset,
        metrics=metrics_of(report),
        backbone=card.backbone,
        pretraining=card.pretraining,
        settings=seen(card.input, card.frames)
        | {name: said[name] for name in (*Setting.model_fields, "trained_stride") if name in said},
        own=card.published,
        left_out=report.left_out,
    )


def metrics_of(report: Report) -> list[str]:
    """Return the names of what was measured, the leading one first."""
    return [name for name in report.rows[0] if name != "weights"]


def folder_of(run: Path, options: EvaluatorOptions, data: Sequence[Video], checkpoint: str) -> Path:
    """Return where a run keeps the report of a protocol on these data."""
    asked = json.dumps([options.model_dump(mode="json"), digest(data), checkpoint])
    name = hashlib.sha256(asked.encode()).hexdigest()[:12]
    return run / "evaluations" / f"{options.name}-{name}"


def as_json(options: EvaluatorOptions, report: Report) -> dict[str, Any]:
    """Return the machine-readable form of a report; docs/json.md."""
    return {
        "evaluator": options.name,
        "options": options.model_dump(mode="json"),
        "chance": report.chance,
        "chances": report.chances,
        "rows": report.rows,
        "facts": report.facts,
        "left_out": report.left_out,
        "tables": [asdict(table) for table in report.tables],
        "figures": [
            {"kind": type(figure).__name__.lower(), **asdict(figure)} for figure in report.figures
        ],
        "published": [row.as_document() for row in report.published],
    }


def show(options: EvaluatorOptions, report: Report) -> None:
    """Print a report: our rows, chance, and the closest published rows."""
    metrics = metrics_of(report)
    rows: list[list[object]] = [
        [row["weights"], *(_percent(row[name]) for name in metrics)] for row in report.rows
    ]
    rows.append(["chance", *(_percent(report.chances.get(name)) for name in metrics)])
    facts = ", ".join(f"{key} {value}" for key, value in report.facts.items())
    title = f"{options.name} ({facts})" if facts else options.name
    emit_table(f"{title}, percent", ["weights", *metrics], rows)
    for table in report.tables:
        emit_table(table.title, table.columns, table.rows)
    show_published(report.published, options.name, metrics)


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"
