"""How well a run does its own pretext tasks on videos that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import ABSENT
from vidssl_cli.contract.reports import Confusion, PretextScores
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.model import run_directory
from vidssl_cli.model.devices import choose_device, place
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.model.precision import DTYPES, inference_precision
from vidssl_cli.model.weights import load_weights, read_newest, read_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.contract.videos import Video

VISITS = 2
"""To every held-out video, each with clips of its own."""


def pretext_scores(
    run: Path, videos: Sequence[Video], *, trained: bool, device: str, checkpoint: str = "last"
) -> PretextScores:
    """Return the mean losses and metrics of a run's pretext tasks, and what they took for what.

    Clips are drawn and varied as in training; nothing is learned, and norms use their statistics.

    Args:
        run: directory of a pre-training run.
        videos: what to measure on.
        trained: take the run's weights, or else the same network and heads with random ones.
        device: as on the command line.
        checkpoint: ``last`` or ``best``.

    Raises:
        UsageError: the run is not one of pre-training, or its sampler can use none of the videos.
        MediaError: a video cannot be read.
    """
    facts = run_directory.read_facts(run)
    recipe = load(run_directory.verify_file(run, run_directory.RECIPE))
    if not isinstance(recipe, PretrainRecipe):
        raise UsageError(f"{run} is not a run of `vidssl pretrain`; only those have pretext tasks")
    sampler = build_sampler(recipe.sampler, recipe.input)
    usable = [video for video in videos if sampler.rejects(video) is None]
    if not usable:
        raise UsageError(f"the run's sampler can use none of {len(videos)} held-out videos")
    torch.manual_seed(recipe.train.seed)
    learner = PretrainLearner(recipe, facts["videos"])
    if trained:
        source, tensors = read_newest(run, checkpoint, read_tensors)
        load_weights(learner, tensors, source)
    chosen = choose_device(device)
    size = min(recipe.train.batch_videos, len(usable))
    place(learner, chosen)
    order = Order(
        usable,
        sampler,
        seed=recipe.train.seed,
        batch_videos=size - size % sampler.together or sampler.together,
        repeats=VISITS,
    )
    pipeline = Pipeline(recipe.input, recipe.augment, recipe.streams(), recipe.flow, chosen)
    loader = Loader(order, pipeline)
    values, counts = _measure(learner, loader, DTYPES[inference_precision(chosen)])
    names = recipe.sampler.classes()
    confusions = [
        _confusion(f"{pretext}.{label}", names.get(label, ()), *told)
        for (pretext, label), told in counts.items()
    ]
    return PretextScores(values, confusions)


@torch.no_grad()
def _measure(
    learner: PretrainLearner, loader: Loader, precision: torch.dtype
) -> tuple[dict[str, float], dict[tuple[str, str], tuple[Tensor, Tensor]]]:
    """Return means over batches; and by pretext and label (N,) what is told and what is true."""
    learner.eval()
    sums: dict[str, float] = {}
    told: dict[tuple[str, str], list[tuple[Tensor, Tensor]]] = {}
    for batch in track(loader.epoch(0), "held-out clips", loader.steps):
        features = learner.encode(batch.clips, precision)
        loss, values = learner.losses(features, batch)
        for name, value in {"loss": loss, **values}.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        for key, answers in learner.predictions(features, batch).items():
            told.setdefault(key, []).append(answers)
    means = {name: total / loader.steps for name, total in sums.items()}
    return means, {
        key: (torch.cat([p for p, _ in parts]), torch.cat([t for _, t in parts]))
        for key, parts in told.items()
    }


def _confusion(title: str, names: Sequence[str], predicted: Tensor, true: Tensor) -> Confusion:
    """Count what each class was taken for, where the label applies; nameless classes are numbered.

    Args:
        title: of the figure.
        names: of the classes; those beyond are numbered.
        predicted: (N,) class numbers.
        true: (N,) class numbers or ABSENT.
    """
    applies = true != ABSENT
    predicted, true = predicted[applies].cpu(), true[applies].cpu()
    seen = 1 + max(torch.cat([predicted, true]).tolist(), default=-1)
    classes = [*names, *map(str, range(len(names), seen))]
    cells = torch.bincount(true * len(classes) + predicted, minlength=len(classes) ** 2)
    return Confusion(title, classes, cells.view(len(classes), len(classes)).tolist())
