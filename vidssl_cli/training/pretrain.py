"""`vidssl pretrain`: learn a representation from unlabelled video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.console import say
from vidssl_cli.base.errors import MediaError
from vidssl_cli.config.known_datasets import identify_dataset
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.model.card import Card, kept_projection
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.model.run_directory import read_rows
from vidssl_cli.training.dry_run import Cost, estimate_cost
from vidssl_cli.training.final_loss import FinalLoss
from vidssl_cli.training.gpu_errors import explain_gpu_errors
from vidssl_cli.training.loop import fit
from vidssl_cli.training.processes import open_world
from vidssl_cli.training.run import METRICS
from vidssl_cli.training.session import Session, build_loader, record_run, select_usable

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.encoder import Encoder

LARGE = 2**28
"""Bytes of a pretext's memory from which on its size is reported."""


@dataclass(frozen=True)
class Outcome:
    """How a session ended."""

    skipped: int = 0
    """Videos that could not be used."""
    skipped_steps: int = 0
    """Steps whose loss or gradient was not finite."""
    loss: FinalLoss | None = None
    """Of the whole run."""
    cost: Cost | None = None
    """What the whole run would cost, after a dry run."""


def pretrain(
    recipe: PretrainRecipe,
    data: Sequence[Video],
    session: Session,
    broken: Sequence[MediaError] = (),
    start: Encoder | None = None,
) -> Outcome:
    """Train the recipe's backbone on the videos, and leave a run directory.

    Args:
        recipe: what to do.
        data: the videos with their facts; labels are not used.
        session: where and on what.
        broken: files of the data that a scan could not read.
        start: a network like the recipe's, whose weights take the place of random ones.

    Returns:
        Outcome: what was skipped, or what the run would cost if the session is a dry run.

    Raises:
        UsageError: the data or the directory do not fit.
        Preempted, Interrupted: a signal arrived; a checkpoint was written.
    """
    sampler = build_sampler(recipe.sampler, recipe.input)
    used, rejected = select_usable(recipe.taken(data), sampler)
    with open_world(session.device) as world:
        torch.manual_seed(recipe.train.seed)
        learner = PretrainLearner(recipe, len(used))
        if start:
            learner.backbone.load_state_dict(start.backbone.state_dict())
        _report_memories(learner)
        loader = build_loader(recipe, recipe.input, sampler, used, session, world)
        if session.dry_run:
            with explain_gpu_errors(recipe.train, world.device):
                return Outcome(cost=estimate_cost(learner, loader, recipe.train, world))
        card = Card(
            backbone=recipe.backbone,
            input=recipe.input,
            frames=sampler.frames,
            evaluation=recipe.evaluation,
            projection=kept_projection(recipe.pretext),
            seed=recipe.train.seed,
            published=recipe.published,
            pretraining=identify_dataset(used, session.dataset),
        )
        unusable = (*broken, *rejected)
        origin = {"weights": start.digest} if start else None
        with record_run(recipe, loader, unusable, card, session, world, origin) as run:
            fit(learner, loader, recipe.train, run, world, on_nan=session.on_nan)
            loss = FinalLoss.of(read_rows(run.folder / METRICS))
            return Outcome(len(run.skipped), run.facts["skipped_steps"], loss)


def _report_memories(learner: PretrainLearner) -> None:
    """Say how much memory each pretext keeps, such as a bank of all videos, where it is much."""
    for name, pretext in zip(learner.names, learner.pretexts, strict=True):
        tensors = (*pretext.parameters(), *pretext.buffers())
        size = sum(tensor.nbytes for tensor in tensors if not tensor.requires_grad)
        if size >= LARGE:
            say(f"{name} keeps {size / 2**30:.1f} GiB, on every device and in every checkpoint")
