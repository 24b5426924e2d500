"""How well a run does its own pretext tasks on held-out videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.console import track
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.sections import Augment
from vidssl_cli.contract.clips import ABSENT
from vidssl_cli.contract.reports import Confusion, PretextScores
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.model.devices import choose_device, place
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.model.precision import DTYPES, inference_precision

if TYPE_CHECKING:
    from torch import Tensor

    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.videos import Video

VISITS = 2
"""Visits to every held-out video, each with other clips."""


def pretext_scores(
    run: Path,
    videos: Sequence[Video],
    *,
    trained: bool,
    device: str,
    checkpoint: str = "last",
    visits: int | None = None,
    workers: int | None = None,
) -> PretextScores:
    """Return the mean losses and metrics of a run's pretext tasks, and their confusions.

    Clips are drawn as in training; nothing is learned, and norms use their running statistics.

    Args:
        run: directory of a pre-training run.
        videos: what to measure on.
        trained: take the run's weights; otherwise the same network and heads have random ones.
        device: as on the command line.
        checkpoint: ``last`` or ``best``.
        visits: visits to each video, all of which count, cut in the middle and not varied; by
            default there are `VISITS`, augmented as in training, and those that do not fill a batch
            of its size are left out.
        workers: decoding threads; None takes one per core.

    Raises:
        UsageError: the run is not one of pre-training, or its sampler can use none of the videos.
        MediaError: a video cannot be read.
    """
    recipe, learner = PretrainLearner.load(run, checkpoint if trained else None)
    chosen = choose_device(device)
    loader = _build_loader(recipe, videos, chosen, visits, workers)
    place(learner, chosen)
    values, predictions = _measure(learner, loader, DTYPES[inference_precision(chosen)])
    names = recipe.sampler.classes()
    confusions = [
        _count_confusion(f"{pretext}.{label}", names.get(label, ()), *answers)
        for (pretext, label), answers in predictions.items()
    ]
    return PretextScores(values, confusions)


def _build_loader(
    recipe: PretrainRecipe,
    videos: Sequence[Video],
    device: torch.device,
    visits: int | None,
    workers: int | None,
) -> Loader:
    """Return the batches of held-out videos, which are at most as large as the recipe's.

    Raises:
        UsageError: the sampler can use none of them.
    """
    sampler = build_sampler(recipe.sampler, recipe.input)
    usable = [video for video in videos if sampler.rejects(video) is None]
    if not usable:
        raise UsageError(f"the run's sampler can use none of {len(videos)} held-out videos")
    size = min(recipe.train.batch_videos, len(usable))
    augment = recipe.augment
    if visits:
        size = next(n for n in range(size, 0, -1) if len(usable) * visits % n == 0)
        augment = Augment(crop="center", flip=0)
    order = Order(
        usable,
        sampler,
        seed=recipe.train.seed,
        batch_videos=size - size % sampler.together or sampler.together,
        repeats=visits or VISITS,
    )
    pipeline = Pipeline(recipe.input, augment, recipe.streams(), recipe.flow, device)
    return Loader(order, pipeline, workers=workers)


@torch.no_grad()
def _measure(
    learner: PretrainLearner, loader: Loader, precision: torch.dtype
) -> tuple[dict[str, float], dict[tuple[str, str], tuple[Tensor, Tensor]]]:
    """Return means over batches; and (N,) predicted and true classes by pretext and label."""
    learner.eval()
    sums: dict[str, float] = {}
    answers: dict[tuple[str, str], list[tuple[Tensor, Tensor]]] = {}
    for batch in track(loader.epoch(0), "held-out clips", loader.steps):
        features = learner.encode(batch.clips, precision)
        loss, values = learner.losses(features, batch)
        for name, value in {"loss": loss, **values}.items():
            sums[name] = sums.get(name, 0.0) + float(value)
        for key, pair in learner.predictions(features, batch).items():
            answers.setdefault(key, []).append(pair)
    means = {name: total / loader.steps for name, total in sums.items()}
    return means, {
        key: (torch.cat([p for p, _ in parts]), torch.cat([t for _, t in parts]))
        for key, parts in answers.items()
    }


def _count_confusion(
    title: str, names: Sequence[str], predicted: Tensor, true: Tensor
) -> Confusion:
    """Count the predictions of each class, where the label applies.

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
