"""`vidssl finetune`: train a classifier on labelled video, from a pre-trained backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from vidssl_cli.base.console import say, track
from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.config.comparison import Measured, closest_published, seen
from vidssl_cli.config.known_datasets import NOTHING, recognise
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.metrics import (
    class_accuracy,
    clip_accuracy,
    confusion,
    mean_class_accuracy,
    video_accuracy,
    video_classes,
)
from vidssl_cli.contract.study import Reading
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.model.devices import open_world
from vidssl_cli.model.embedding import refuse
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.learner import FinetuneLearner
from vidssl_cli.model.pooling import check_tap
from vidssl_cli.model.run_directory import REPORT, identity
from vidssl_cli.model.weights import load_weights, read_tensors
from vidssl_cli.training.loop import fit
from vidssl_cli.training.session import Session, build_loader, recorded, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.config.sections import ClassifierEvaluation
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.card import Card


def finetune(
    recipe: FinetuneRecipe,
    data: Sequence[Video],
    source: Path,
    session: Session,
    *,
    checkpoint: str = "last",
    scratch: bool = False,
    broken: Sequence[MediaError] = (),
    complete: bool = False,
) -> dict[str, Any]:
    """Train a fresh classifier on the backbone of a run, and measure it on held-out videos.

    After every epoch the classifier is measured on the split ``val``, or on ``test`` where there
    is no ``val``; the best checkpoint is the one with the highest video accuracy there.

    Args:
        recipe: what to do.
        data: labelled videos of the splits ``train`` and ``test``, perhaps ``val``.
        source: the run, or exported model, whose backbone is taken.
        session: where and on what.
        checkpoint: of the source.
        scratch: draw random weights instead, the anchor that pre-training has to beat.
        broken: files of the data that a scan could not read.
        complete: whether a video to measure with that cannot be read is an error; it is named and
            left out otherwise.

    Returns:
        dict: ``{"classes", "chance", "chosen_on", "rows": [{"checkpoint", "clip_accuracy",
        "video_accuracy", "mean_class_accuracy", "class_accuracy", "confusion"}], "skipped",
        "skipped_steps", "published"}``, accuracies on ``test`` from 0 to 1. Those of the classes
        are of videos; it is None for a class that is not tested.

    Raises:
        VidsslError: a video cannot be read, with ``complete``.
        UsageError: labels or splits are missing, or the directory does not fit.
        Preempted, Interrupted: a signal arrived; a checkpoint was written.
    """
    if session.overwrite and session.out.resolve() == source.resolve():
        raise UsageError(
            f"--overwrite would throw away {source}, which the weights come from",
            where=str(source),
            hint="choose another --out",
        )
    parts = _split(data)
    classes = sorted({video.label for video in parts["train"] if video.label is not None})
    chosen_on = "val" if parts["val"] else "test"
    with open_world(session.device) as world:
        encoder = Encoder.load(source, str(world.device), checkpoint)
        check_tap(encoder.card.backbone.name, encoder.taps, recipe.evaluation.tap)
        sampler = build_sampler(recipe.sampler, encoder.card.input)
        used, rejected = usable(parts["train"], sampler)
        say(f"backbone: {len(encoder.backbone.state_dict())} tensors from {source}")
        own = {"frames": sampler.frames, "evaluation": recipe.evaluation, "seed": recipe.train.seed}
        card = encoder.card.model_copy(update=own)
        if scratch:
            card = card.model_copy(update={"origin": "", "pretraining": NOTHING})
            encoder = Encoder(card, cast(Any, encoder.backbone), world.device).randomised()
        origin = {
            "from": str(source),
            "weights": encoder.digest,
            "scratch": scratch,
            "classes": classes,
        }
        torch.manual_seed(recipe.train.seed)
        learner = FinetuneLearner(cast(Any, encoder.backbone), len(classes), recipe)
        numbers = _numbers(used, classes)
        loader = build_loader(recipe, card.input, sampler, used, session, world, labels=numbers)
        unusable = (*broken, *rejected)
        with recorded(recipe, loader, unusable, card, session, world, origin) as run:
            loader.on_skip = run.skip

            def leave_out(unreadable: Sequence[MediaError]) -> None:
                if complete:
                    refuse(unreadable)
                for error in unreadable:
                    run.skip(error)

            def measure(split: str) -> Judgement:
                learner.eval()
                encoder = Encoder(card, cast(Any, learner.backbone), world.device)
                videos, features = _read(encoder, recipe.evaluation, parts[split], leave_out)
                return Judgement(learner.judge(features), _numbers(videos, classes), len(classes))

            def validate() -> dict[str, float]:
                accuracies = measure(chosen_on).accuracies
                learner.train()
                return accuracies | {"score": accuracies["video_accuracy"]}

            fit(learner, loader, recipe.train, run, world, validate=validate, on_nan=session.on_nan)
            rows = [{"checkpoint": "last", **measure("test").row}]
            best = (run.checkpoints / "best").resolve()
            load_weights(learner, read_tensors(best), best)
            rows.append({"checkpoint": "best", **measure("test").row})
            report = {
                "classes": classes,
                "chance": 1 / len(classes),
                "chosen_on": chosen_on,
                "rows": rows,
                "skipped": len(run.skipped),
                "skipped_steps": run.facts["skipped_steps"],
                "published": _published(recipe, card, data, session),
            }
            if world.leads:
                document = report | {"run": identity(run.folder)}
                atomic_write(run.folder / REPORT, sealed_json.render(document))
    return report


def _published(
    recipe: FinetuneRecipe, card: Card, data: Sequence[Video], session: Session
) -> list[dict[str, Any]]:
    """Return what papers report of fine-tuning on these data, the closest first."""
    settings = {"splits": str(session.split), **seen(card.input, card.frames)}
    measured = Measured(
        evaluator="finetune",
        dataset=recognise(data, session.dataset),
        metrics=("clip_accuracy", "video_accuracy"),
        backbone=card.backbone,
        pretraining=card.pretraining,
        settings=settings | recipe.evaluation.model_dump(include={"clips", "stride"}),
        own=card.published,
    )
    return [row.as_document() for row in closest_published(measured)]


def _split(data: Sequence[Video]) -> dict[str, list[Video]]:
    """Sort labelled videos by split.

    Raises:
        UsageError: there is nothing to train on or to measure with, or a class is never trained.
    """
    parts = {
        split: [v for v in data if v.split == split and v.label is not None]
        for split in ("train", "val", "test")
    }
    for split in ("train", "test"):
        if not parts[split]:
            raise UsageError(
                f"none of the {len(data)} videos has a label and the split {split!r}",
                hint="make a manifest with labels and splits: `vidssl data scan --help`",
            )
    unknown = {v.label for v in parts["val"] + parts["test"]} - {v.label for v in parts["train"]}
    if unknown:
        raise UsageError(
            f"{len(unknown)} classes are tested but never trained: {sorted(map(str, unknown))[:5]}",
            hint="check the splits with `vidssl data check`",
        )
    return parts


def _numbers(data: Iterable[Video], classes: list[str]) -> NDArray[np.int64]:
    return np.array([classes.index(str(video.label)) for video in data], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a classifier said of videos."""

    probabilities: list[NDArray[np.float32]]
    """(clips, K) of each."""
    labels: NDArray[np.int64]
    """(N,) what they are."""
    classes: int
    """K."""

    @property
    def accuracies(self) -> dict[str, float]:
        """Return the share of clips and of videos that are right."""
        return {
            "clip_accuracy": clip_accuracy(self.probabilities, self.labels),
            "video_accuracy": video_accuracy(self.probabilities, self.labels),
        }

    @property
    def row(self) -> dict[str, Any]:
        """Return accuracies, and class by class how videos were taken."""
        counts = confusion(self.labels, video_classes(self.probabilities), self.classes)
        recall = class_accuracy(counts).tolist()
        return self.accuracies | {
            "mean_class_accuracy": mean_class_accuracy(counts),
            "class_accuracy": [None if np.isnan(value) else value for value in recall],
            "confusion": counts.tolist(),
        }


def _read(
    encoder: Encoder,
    evaluation: ClassifierEvaluation,
    data: Sequence[Video],
    leave_out: Callable[[Sequence[MediaError]], None],
) -> tuple[list[Video], list[NDArray[np.float32]]]:
    """Return the videos that can be read, and the pooled representation (clips, D) of each.

    Raises:
        VidsslError: no video can be read.
    """
    windows = Windows(evaluation.windows, evaluation.clips, evaluation.hop, evaluation.stride)
    views = ((video, encoder.views(video, windows)) for video in track(data, "measuring"))
    skipped: list[MediaError] = []
    read = list(encoder.read(views, [Reading("feat")], evaluation.crops, skipped))
    leave_out(skipped)
    if not read:
        raise VidsslError(
            f"none of the {len(data)} videos to measure with can be read; the first: {skipped[0]}",
            where=skipped[0].where,
            hint="make the manifest again with `vidssl data scan`, which leaves them out",
        )
    return [video for video, *_ in read], [features for *_, (features,) in read]
