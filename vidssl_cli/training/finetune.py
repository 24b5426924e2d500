"""`vidssl finetune`: train a classifier on labelled video, from a pre-trained backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from vidssl_cli.base.console import say, warn
from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.base.wording import counted
from vidssl_cli.config.compare_published import Measured, closest_published, seen
from vidssl_cli.config.known_datasets import NOTHING, identify_dataset
from vidssl_cli.contract.metrics import Predictions, class_accuracy, mean_class_accuracy
from vidssl_cli.contract.study import Strides
from vidssl_cli.data.coverage import coverage
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.views import require_readable
from vidssl_cli.files import sealed_json
from vidssl_cli.files.atomic import atomic_write
from vidssl_cli.model.classifier import Classifier
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.pooling import check_tap
from vidssl_cli.model.run_directory import REPORT, identify
from vidssl_cli.model.weights import load_weights, read_tensors
from vidssl_cli.training.hidden_layers import carry_hidden_layers
from vidssl_cli.training.loop import fit
from vidssl_cli.training.processes import open_world
from vidssl_cli.training.session import Session, build_loader, record_run, select_usable

if TYPE_CHECKING:
    from vidssl_cli.base.errors import MediaError
    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.card import Card
    from vidssl_cli.training.run import Run


def finetune(
    recipe: FinetuneRecipe,
    data: Sequence[Video],
    source: Path,
    session: Session,
    *,
    checkpoint: str = "last",
    scratch: bool = False,
    broken: Sequence[MediaError] = (),
    left_out: Sequence[Video] = (),
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
        scratch: start from random weights instead, for comparison.
        broken: files of the data that a scan could not read.
        left_out: rows of the data that cannot be used, these files among them.
        complete: whether a video to measure with that cannot be read is an error; otherwise it is
            named and left out.

    Returns:
        dict: ``{"classes", "chance", "chosen_on", "rows": [{"checkpoint", "clip_accuracy",
        "video_accuracy", "mean_class_accuracy", "class_accuracy", "confusion"}], "skipped",
        "skipped_steps", "left_out", "published"}``, accuracies on ``test`` from 0 to 1. Those of
        the classes are of videos; it is None for a class that is not tested.

    Raises:
        VidsslError: a video cannot be read, with ``complete``.
        UsageError: labels or splits are missing, the directory does not fit, or the heads that the
            recipe takes over.
        Preempted, Interrupted: a signal arrived; a checkpoint was written.
    """
    if session.overwrite and session.out.resolve() == source.resolve():
        raise UsageError(
            f"--overwrite would throw away {source}, which the weights come from",
            where=str(source),
            hint="choose another --out",
        )
    splits = _split(data)
    warn_of_strides(Strides(recipe.stride, recipe.evaluation.stride))
    with open_world(session.device) as world:
        encoder = Encoder.load(source, str(world.device), checkpoint)
        sampler = build_sampler(recipe.sampler, encoder.card.input)
        used, rejected = select_usable(splits["train"], sampler)
        tensors = f"{len(encoder.backbone.state_dict())} tensors from"
        say(f"backbone: {'random weights, the network of' if scratch else tensors} {source}")
        encoder = _with_own_card(encoder, recipe, sampler.frames, scratch)
        check_tap(encoder.card.backbone.name, encoder.taps, recipe.evaluation.tap)
        torch.manual_seed(recipe.train.seed)
        classes = sorted({str(video.label) for video in splits["train"]})
        classifier = Classifier.build(encoder, classes, recipe)
        if recipe.heads == "run" and not scratch:
            carry_hidden_layers(source, checkpoint, classifier.learner)
        card, labels = encoder.card, classifier.numbers(used)
        loader = build_loader(recipe, card.input, sampler, used, session, world, labels=labels)
        origin = {
            "from": str(source),
            "weights": encoder.digest,
            "scratch": scratch,
            "classes": classes,
        }
        unusable = (*broken, *rejected)
        with record_run(recipe, loader, unusable, card, session, world, origin) as run:
            measurement = _Measurement(classifier, splits, run, complete)
            fit(
                classifier.learner,
                loader,
                recipe.train,
                run,
                world,
                validate=measurement.validate,
                on_nan=session.on_nan,
            )
            report = measurement.report()
            lost = [video for video in data if video.path in run.skipped]
            read = [video for video in data if video.path not in run.skipped]
            shares = coverage(read, [*left_out, *lost])
            published = _published(recipe, card, data, session, shares)
            report |= {"left_out": shares, "published": published}
            if world.leads:
                document = report | {"run": identify(run.folder)}
                atomic_write(run.folder / REPORT, sealed_json.render(document))
    return report


def warn_of_strides(strides: Strides) -> None:
    """Warn where a classifier is tested on clips of another stride than it is trained on."""
    if strides.differ:
        warn(
            f"the classifier is trained on clips of stride {strides.trained} and tested on clips "
            f"of stride {strides.tested}; papers use one: leave the stride of the test out, and "
            "sampler.stride sets both"
        )


def _split(data: Sequence[Video]) -> dict[str, list[Video]]:
    """Return the labelled videos of each split.

    Raises:
        UsageError: there is nothing to train on or to measure with, or a class is never trained.
    """
    splits = {
        split: [v for v in data if v.split == split and v.label is not None]
        for split in ("train", "val", "test")
    }
    for split in ("train", "test"):
        if not splits[split]:
            raise UsageError(
                f"none of the {len(data)} videos has a label and the split {split!r}",
                hint="`vidssl data scan --hold-out 0.2` makes a manifest with splits",
            )
    measured = {v.label for v in splits["val"] + splits["test"]}
    if unknown := measured - {v.label for v in splits["train"]}:
        raise UsageError(
            f"{counted(len(unknown), 'class is', 'classes are')} tested but never trained: "
            f"{sorted(map(str, unknown))[:5]}",
            hint="check the splits with `vidssl data check`",
        )
    return splits


def _with_own_card(encoder: Encoder, recipe: FinetuneRecipe, frames: int, scratch: bool) -> Encoder:
    """Return the encoder to start from, with the recipe's settings instead of the source's.

    A projection is left behind: what it reads changes.
    """
    own = {"frames": frames, "evaluation": recipe.evaluation, "seed": recipe.train.seed}
    own |= {"projection": None}
    if scratch:
        own |= {"origin": "", "pretraining": NOTHING}
    card = encoder.card.model_copy(update=own)
    encoder = Encoder(card, cast(Any, encoder.backbone), encoder.device)
    return encoder.randomised() if scratch else encoder


@dataclass(frozen=True)
class _Measurement:
    """Measures a classifier while and after it is trained."""

    classifier: Classifier
    splits: Mapping[str, Sequence[Video]]
    run: Run
    complete: bool
    """Whether a video that cannot be read is an error."""

    @property
    def chosen_on(self) -> str:
        """The split that chooses the best checkpoint."""
        return "val" if self.splits["val"] else "test"

    def validate(self) -> dict[str, float]:
        """Return the accuracies after an epoch, and the score that chooses the best checkpoint."""
        accuracies = self._measure(self.chosen_on).accuracies()
        self.classifier.learner.train()
        return accuracies | {"score": accuracies["video_accuracy"]}

    def report(self) -> dict[str, Any]:
        """Return the figures on ``test`` of the trained weights, and of the best checkpoint."""
        last = self._row("last")
        best = (self.run.checkpoints / "best").resolve()
        load_weights(self.classifier.learner, read_tensors(best), best)
        return {
            "classes": self.classifier.classes,
            "chance": 1 / len(self.classifier.classes),
            "chosen_on": self.chosen_on,
            "rows": [last, self._row("best")],
            "skipped": len(self.run.skipped),
            "skipped_steps": self.run.facts["skipped_steps"],
        }

    def _row(self, checkpoint: str) -> dict[str, Any]:
        predictions = self._measure("test")
        counts = predictions.confusion()
        recall = class_accuracy(counts).tolist()
        return {
            "checkpoint": checkpoint,
            **predictions.accuracies(),
            "mean_class_accuracy": mean_class_accuracy(counts),
            "class_accuracy": [None if np.isnan(value) else value for value in recall],
            "confusion": counts.tolist(),
        }

    def _measure(self, split: str) -> Predictions:
        """Apply the classifier to the videos of a split.

        Raises:
            VidsslError: no video can be read, or not all if they have to be complete.
        """
        learner, data = self.classifier.learner.eval(), self.splits[split]
        unreadable: list[MediaError] = []
        read = self.classifier.read(data, unreadable)
        if self.complete:
            require_readable(unreadable)
        for error in unreadable:
            self.run.skip(error)
        if not read:
            raise VidsslError(
                f"none of the {len(data)} videos to measure with can be read; the first: "
                f"{unreadable[0]}",
                where=unreadable[0].where,
                hint="make the manifest again with `vidssl data scan`, which leaves them out",
            )
        probabilities = learner.classify([features for _, features in read])
        labels = self.classifier.numbers(video for video, _ in read)
        return Predictions(probabilities, labels, len(self.classifier.classes))


def _published(
    recipe: FinetuneRecipe,
    card: Card,
    data: Sequence[Video],
    session: Session,
    left_out: Mapping[str, Mapping[str, int]],
) -> list[dict[str, Any]]:
    """Return what papers report of fine-tuning on these data, the closest first."""
    settings = {"splits": str(session.split), **seen(card.input, card.frames)}
    settings["trained_stride"] = recipe.stride
    measured = Measured(
        evaluator="finetune",
        dataset=identify_dataset(data, session.dataset),
        metrics=("clip_accuracy", "video_accuracy"),
        backbone=card.backbone,
        pretraining=card.pretraining,
        settings=settings | recipe.evaluation.model_dump(include={"clips", "stride"}),
        own=card.published,
        left_out=left_out,
    )
    return [row.as_document() for row in closest_published(measured)]
