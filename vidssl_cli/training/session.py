"""What pre-training and fine-tuning share: the session, the videos used, the record of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import warn
from vidssl_cli.base.errors import Interrupted, MediaError, NoRoomError, Preempted, UsageError
from vidssl_cli.base.signals import Stopped, StopSignals, stopped
from vidssl_cli.config.attribution import blamed
from vidssl_cli.config.known_datasets import recognise
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.data import manifest
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.model import run_directory
from vidssl_cli.model.card import Card
from vidssl_cli.model.devices import World
from vidssl_cli.training.not_finite import OnNaN
from vidssl_cli.training.run import Run, occupied, open_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.config.sections import Input
    from vidssl_cli.contract.clips import Sampler
    from vidssl_cli.contract.videos import Video


@dataclass(frozen=True)
class Session:
    """How a run is carried out; none of it changes what is learned."""

    out: Path
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    workers: int | None = None
    """Decoding threads; None takes one per core."""
    dry_run: bool = False
    """Take a few steps, tell what a run would cost, and leave nothing behind."""
    dataset: str | None = None
    """What DATA is, where its classes do not tell."""
    split: int = 1
    """Official split of it."""
    on_nan: OnNaN = "stop"
    """Whether a step without a finite loss ends the run. This does change what is learned, but
    never that of a run which got to its end without: so run.json has it, and no recipe."""


def usable(data: Sequence[Video], sampler: Sampler) -> tuple[list[Video], list[MediaError]]:
    """Split the videos into those that a sampler can use and those it rejects, with the reason.

    Raises:
        UsageError: it rejects all of them, or there is none.
    """
    if not data:
        raise UsageError(
            "there is no video to train on",
            hint="training takes the split train, or videos without a split",
        )
    used: list[Video] = []
    rejected: list[MediaError] = []
    for video in data:
        if reason := sampler.rejects(video):
            rejected.append(MediaError(reason, where=video.path))
        else:
            used.append(video)
    if not used:
        raise UsageError(
            f"the sampler can use none of the {len(data)} videos; the first: {rejected[0]}",
            where=rejected[0].where,
            hint="`vidssl data check` lists what stands in the way",
        )
    if rejected:
        warn(
            f"{len(rejected)} of {len(data)} videos are left out; the first is "
            f"{rejected[0].where}: {rejected[0]}"
        )
    return used, rejected


def build_loader(
    recipe: PretrainRecipe | FinetuneRecipe,
    settings: Input,
    sampler: Sampler,
    data: Sequence[Video],
    session: Session,
    world: World,
    *,
    labels: NDArray[np.int64] | None = None,
) -> Loader:
    """Build the training batches of a recipe; see `vidssl_cli.data.loader.Loader`."""
    train = recipe.train
    order = Order(
        data,
        sampler,
        seed=train.seed,
        batch_videos=train.batch_videos,
        repeats=train.repeats,
        epochs=train.epochs,
    )
    pipeline = Pipeline(settings, recipe.augment, device=world.device)
    if isinstance(recipe, PretrainRecipe):
        pipeline = replace(pipeline, streams=recipe.streams(), flow=recipe.flow)
    return Loader(
        order,
        pipeline,
        labels=labels,
        rank=world.rank,
        processes=world.size,
        workers=session.workers,
    )


@contextmanager
def recorded(
    recipe: PretrainRecipe | FinetuneRecipe,
    loader: Loader,
    unusable: Sequence[MediaError],
    card: Card,
    session: Session,
    world: World,
    origin: dict[str, Any] | None = None,
) -> Iterator[Run]:
    """Open the run directory, and record in run.json how the run ends."""
    if not world.leads:
        world.wait()  # until the leader has made the directory
        yield Run(session.out, run_directory.read_facts(session.out))
        return
    with occupied(session.out, recipe.task):
        with StopSignals() as signals:  # once it is there, it is to tell how it ended
            run = open_run(
                session.out,
                recipe,
                card.model_dump_json(indent=2) + "\n",
                data_digest=manifest.digest(loader.videos),
                order_digest=loader.order.digest(),
                resume=session.resume,
                overwrite=session.overwrite,
                origin=origin,
            )
        try:
            if signals.received:
                raise Stopped(signals.received)
            for error in unusable:
                run.skip(error)
            corpus = recognise(loader.videos, session.dataset)
            known = corpus and corpus.model_dump(mode="json")
            run.state("running", videos=len(loader.videos), dataset=known)
            world.wait()
            yield run
            run.state("finished", skipped=len(run.skipped))
        except BaseException as error:
            if isinstance(error, Stopped):
                error = stopped(error.number, "between two checkpoints")
            elif isinstance(error, KeyboardInterrupt):
                error = Interrupted("interrupted between two checkpoints")
            error = blamed(error) or error
            state = error.code if isinstance(error, Preempted | Interrupted) else "failed"
            with suppress(NoRoomError):  # run.json then says "running", which no lock confirms
                run.state(state, reason=str(error), skipped=len(run.skipped))
            raise error
        finally:
            run.close()
        if skipped := len(run.skipped):
            warn(f"{skipped} videos were skipped; see {session.out / 'bad_media.jsonl'}")
        if steps := run.facts["skipped_steps"]:
            warn(f"{steps} steps were skipped; see not_finite in {session.out / 'metrics.jsonl'}")
