"""`vidssl evaluate`: a protocol for a run, beside the same network with random weights."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.console import emit_table, warn
from vidssl_cli.embed import embed
from vidssl_cli.errors import MediaError, UsageError, VidsslError
from vidssl_cli.held_out import own_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.embed import Encoder
    from vidssl_cli.hooks import Embedding, EvaluatorOptions, Pool, Report
    from vidssl_cli.recipe import Published
    from vidssl_cli.videos import Video

CALIBRATION_VIDEOS = 64
"""Training videos whose clips set the norms' statistics of the network with random weights."""


class EncoderStudy:
    """What an evaluator works on; see `vidssl_cli.hooks.Study`."""

    weights: Sequence[str] = ("run", "random")

    def __init__(
        self,
        encoder: Encoder,
        data: Sequence[Video],
        folder: Path | None = None,
        run: Path | None = None,
        checkpoint: str = "last",
    ) -> None:
        """Take an encoder, the videos, a folder for files, and the run that the encoder is from."""
        self.data = data
        self.folder = folder
        self.run, self.checkpoint = run, checkpoint
        self.evaluation: Embedding = encoder.evaluation
        self.taps: Mapping[str, int] = encoder.taps
        self.skipped: list[MediaError] = []
        self._encoders = {"run": encoder}
        self._features: dict[Hashable, NDArray[np.float32]] = {}

    @property
    def train(self) -> Sequence[Video]:
        """Labelled videos of the training split."""
        return self._labelled("train")

    @property
    def test(self) -> Sequence[Video]:
        """Labelled videos of the test split."""
        return self._labelled("test")

    def _labelled(self, split: str) -> Sequence[Video]:
        part = [video for video in self.data if video.split == split and video.label is not None]
        if not part:
            raise UsageError(
                f"none of the {len(self.data)} videos has a label and the split {split!r}",
                hint="make a manifest with labels and splits: `vidssl data scan --help`",
            )
        return part

    def own_task(self, weights: str) -> Mapping[str, float]:
        """Return losses and metrics of the run's pretext tasks on the videos of the test split."""
        if self.run is None or not (self.run / "recipe.yaml").is_file():
            raise UsageError(
                "an exported model has no pretext tasks any more",
                hint="give the run directory that it was exported from",
            )
        held_out = [video for video in self.data if video.split == "test"]
        if not held_out:
            raise UsageError(
                f"none of the {len(self.data)} videos has the split 'test'",
                hint="make a manifest with splits: `vidssl data scan --help`",
            )
        return own_task(
            self.run,
            held_out,
            trained=weights == "run",
            device=str(self._encoders["run"].device),
            checkpoint=self.checkpoint,
        )

    def features(
        self, weights: str, videos: Sequence[Video], clips: int, tap: str, pool: Pool
    ) -> NDArray[np.float32]:
        """Return (N, clips, D) features of evenly spaced clips, not normalised.

        A video that cannot be read is an error here: a figure over fewer videos would not be the
        figure that was asked for.
        """
        key = (weights, tuple(video.path for video in videos), clips, tap, pool)
        if key not in self._features:
            self._features[key] = self._embed(weights, videos, clips, tap, pool)
        return self._features[key]

    def _embed(
        self, weights: str, videos: Sequence[Video], clips: int, tap: str, pool: Pool
    ) -> NDArray[np.float32]:
        encoder = self._encoder(weights)
        changes = {"clips": clips, "tap": tap, "pool": pool}
        evaluation = encoder.evaluation.model_copy(update=changes)
        label = f"{weights} weights, {len(videos)} videos"
        skipped: list[MediaError] = []
        found = embed(encoder, videos, evaluation=evaluation, skipped=skipped, label=label)
        features = [item.features for item in found]
        if skipped:
            raise VidsslError(
                f"{len(skipped)} videos cannot be read, the first: {skipped[0]}",
                where=skipped[0].where,
                hint="make the manifest again with `vidssl data scan`, which leaves them out",
            )
        return np.stack(features)

    def _encoder(self, weights: str) -> Encoder:
        if weights not in self._encoders:
            random = self._encoders["run"].randomised()
            train = self.train
            random.calibrate(train[:: max(len(train) // CALIBRATION_VIDEOS, 1)], [])
            self._encoders[weights] = random
        return self._encoders[weights]


def evaluate(
    encoder: Encoder,
    data: Sequence[Video],
    options: EvaluatorOptions,
    folder: Path | None = None,
    run: Path | None = None,
    checkpoint: str = "last",
) -> Report:
    """Carry out a protocol, and leave ``report.json`` in the folder if one is given.

    Args:
        encoder: what is measured.
        data: videos with labels and splits.
        options: the protocol.
        folder: for files.
        run: directory that the encoder was loaded from; the protocol ``pretext`` needs it.
        checkpoint: of the run.

    Raises:
        UsageError: the data lack labels or splits, or the protocol does not fit the network.
        VidsslError: a video cannot be read.
    """
    report = options.build()(EncoderStudy(encoder, data, folder, run, checkpoint))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(as_json(options, report), indent=2) + "\n"
        (folder / "report.json").write_text(text, encoding="utf-8")
    return report


def as_json(options: EvaluatorOptions, report: Report) -> dict[str, Any]:
    """Return the machine-readable form of a report; docs/json.md."""
    return {
        "evaluator": options.name,
        "chance": report.chance,
        "rows": report.rows,
        "facts": report.facts,
    }


def show(options: EvaluatorOptions, report: Report, published: Sequence[Published]) -> None:
    """Print a report: our rows, chance, and the published figures of the same evaluator."""
    metrics = [name for name in report.rows[0] if name != "weights"]
    rows: list[list[object]] = [
        [row["weights"], *(_percent(row[name]) for name in metrics)] for row in report.rows
    ]
    rows.append(["chance", *(_percent(report.chances.get(name)) for name in metrics)])
    for entry in published:
        if entry.evaluator == options.name:
            published_row = f"published: {entry.dataset}, {entry.source}"
            rows.append([published_row, *(_percent(entry.figures.get(name)) for name in metrics)])
    facts = ", ".join(f"{key} {value}" for key, value in report.facts.items())
    emit_table(f"{options.name} ({facts}), percent", ["weights", *metrics], rows)
    for table in report.tables:
        emit_table(table.title, table.columns, table.rows)
    if any(entry.evaluator == options.name for entry in published):
        warn("published figures are for the data set, network and setting named in their row")


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.1f}"
