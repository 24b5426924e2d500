"""`vidssl finetune`: train a classifier on labelled video, from a pre-trained backbone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from vidssl_cli.artefacts import atomic_write
from vidssl_cli.checkpoint import load_weights, read_tensors
from vidssl_cli.console import say
from vidssl_cli.devices import open_world
from vidssl_cli.embed import Card, Encoder, embed
from vidssl_cli.errors import UsageError, VidsslError
from vidssl_cli.metrics import clip_accuracy, video_accuracy
from vidssl_cli.model import FinetuneLearner
from vidssl_cli.pooling import check_tap
from vidssl_cli.pretrain import Session, build_loader, recorded, usable
from vidssl_cli.rate import build_sampler
from vidssl_cli.train import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.errors import MediaError
    from vidssl_cli.recipe import FinetuneRecipe
    from vidssl_cli.videos import Video


def finetune(
    recipe: FinetuneRecipe,
    data: Sequence[Video],
    source: Path,
    session: Session,
    *,
    scratch: bool = False,
    broken: Sequence[MediaError] = (),
) -> dict[str, Any]:
    """Train a fresh classifier on the backbone of a run, and measure it on held-out videos.

    After every epoch the classifier is measured on the split ``val``, or on ``test`` where there
    is no ``val``; the best checkpoint is the one with the highest video accuracy there.

    Args:
        recipe: what to do.
        data: labelled videos of the splits ``train`` and ``test``, perhaps ``val``.
        source: the run, or exported model, whose backbone is taken.
        session: where and on what.
        scratch: draw random weights instead, the anchor that pre-training has to beat.
        broken: files of the data that a scan could not read.

    Returns:
        dict: ``{"classes", "chance", "chosen_on", "rows": [{"checkpoint", "clip_accuracy",
        "video_accuracy"}], "skipped", "published"}``, accuracies on ``test`` from 0 to 1.

    Raises:
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
        encoder = Encoder.load(source, str(world.device))
        check_tap(encoder.card.backbone.name, encoder.taps, recipe.evaluation.tap)
        sampler = build_sampler(recipe.sampler, encoder.card.input)
        used, rejected = usable(parts["train"], sampler)
        say(f"backbone: {len(encoder.backbone.state_dict())} tensors from {source}")
        own = {"frames": sampler.frames, "evaluation": recipe.evaluation, "seed": recipe.train.seed}
        card = encoder.card.model_copy(update=own)
        if scratch:
            card = card.model_copy(update={"origin": ""})
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

            def measure(split: str) -> dict[str, float]:
                return _measure(learner, card, parts[split], classes, world.device, run.skip)

            def validate() -> dict[str, float]:
                measured = measure(chosen_on)
                learner.train()
                return measured | {"score": measured["video_accuracy"]}

            fit(learner, loader, recipe.train, run, world, validate=validate)
            rows = [{"checkpoint": "last", **measure("test")}]
            best = (run.checkpoints / "best").resolve()
            load_weights(learner, read_tensors(best), best)
            rows.append({"checkpoint": "best", **measure("test")})
            report = {
                "classes": classes,
                "chance": 1 / len(classes),
                "chosen_on": chosen_on,
                "rows": rows,
                "skipped": len(run.skipped),
                "published": [
                    entry.model_dump() for entry in card.published if entry.evaluator == "finetune"
                ],
            }
            if world.leads:
                atomic_write(run.folder / "report.json", json.dumps(report, indent=2) + "\n")
    return report


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


def _numbers(data: Sequence[Video], classes: list[str]) -> NDArray[np.int64]:
    return np.array([classes.index(str(video.label)) for video in data], dtype=np.int64)


@torch.inference_mode()
def _measure(
    learner: FinetuneLearner,
    card: Card,
    data: Sequence[Video],
    classes: list[str],
    device: torch.device,
    on_skip: Callable[[MediaError], None],
) -> dict[str, float]:
    """Return clip and video accuracy; a video is judged by the mean over its clips.

    Raises:
        VidsslError: no video can be read.
    """
    learner.eval()
    encoder = Encoder(card, cast(Any, learner.backbone), device)
    pooled = card.evaluation.model_copy(update={"tap": "feat", "pool": "gap"})
    skipped: list[MediaError] = []
    seen = list(embed(encoder, data, evaluation=pooled, skipped=skipped, label="measuring"))
    for error in skipped:
        on_skip(error)
    if not seen:
        raise VidsslError(
            f"none of the {len(data)} videos to measure with can be read; the first: {skipped[0]}",
            where=skipped[0].where,
            hint="make the manifest again with `vidssl data scan`, which leaves them out",
        )
    features = torch.from_numpy(np.stack([item.features for item in seen])).to(device)
    probabilities = learner.classifier(features).softmax(-1).cpu().numpy()
    labels = _numbers([item.video for item in seen], classes)
    return {
        "clip_accuracy": clip_accuracy(probabilities, labels),
        "video_accuracy": video_accuracy(probabilities, labels),
    }
