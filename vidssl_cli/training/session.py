"""What pre-training and fine-tuning share: the session, usable videos, the record of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vidssl_cli.base.console import is_first_process, warn
from vidssl_cli.base.errors import Interrupted, MediaError, NoRoomError, Preempted, UsageError
from vidssl_cli.base.signals import Stopped, StopSignals, stopped
from vidssl_cli.base.wording import counted, share
from vidssl_cli.config.attribution import plugin_error
from vidssl_cli.config.known_datasets import identify_dataset
from vidssl_cli.config.load import document
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.data import manifest
from vidssl_cli.data.decoders import choose_reader
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.files.locks import refuse_locked
from vidssl_cli.model.run_directory import read_facts
from vidssl_cli.training.loggers import chosen_loggers
from vidssl_cli.training.not_finite import OnNaN
from vidssl_cli.training.run import BAD_MEDIA, METRICS, Run
from vidssl_cli.training.run_start import RunSpec, lock_run, open_run, refuse_taken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.config.recipe import FinetuneRecipe
    from vidssl_cli.config.sections import Input
    from vidssl_cli.contract.clips import Sampler
    from vidssl_cli.contract.hooks import DecoderOptions, LoggerOptions
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.card import Card
    from vidssl_cli.training.processes import World


@dataclass(frozen=True)
class Session:
    """Where and how a command trains; but for `on_nan` none of it changes what is learned."""

    out: Path
    """The run directory."""
    resume: bool = False
    overwrite: bool = False
    device: str = "auto"
    workers: int | None = None
    """Decoding threads; None takes one per core."""
    decoder: DecoderOptions | None = None
    """What decodes videos instead of PyAV, if it is right and faster."""
    dry_run: bool = False
    """Take a few steps, estimate what a run would cost, and leave nothing behind."""
    dataset: str | None = None
    """The name of the data set, where its classes do not tell."""
    split: int = 1
    """Official split of it."""
    on_nan: OnNaN = "stop"
    """What to do about a step without a finite loss. A run in which there is none learns the same
    either way, so that this is in run.json and not in the recipe."""
    loggers: Sequence[LoggerOptions] = ()
    """Where metrics go besides where the recipe says."""

    def refuse_taken(self, recipe: PretrainRecipe | FinetuneRecipe) -> None:
        """Refuse a directory that the run cannot have, before DATA is read.

        Only the first process looks: another one may see what the first has made.

        Raises:
            UsageError: something is there already, or what is there is a run of another recipe.
            BusyError: another process trains there.
        """
        if is_first_process() and not self.dry_run:
            own = recipe.without_loggers()
            refuse_taken(self.out, own, resume=self.resume, overwrite=self.overwrite)
            refuse_locked(self.out, f"vidssl {recipe.task}")


def select_usable(data: Sequence[Video], sampler: Sampler) -> tuple[list[Video], list[MediaError]]:
    """Return the videos that a sampler can use, and why it rejects each of the others.

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
            hint="`vidssl data check` lists the reasons",
        )
    if rejected:
        warn(
            f"{share(len(rejected), len(data), 'video', 'is', 'are')} left out; the first is "
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
    read = choose_reader(session.decoder, data, settings.resize, str(world.device), session.workers)
    pipeline = Pipeline(settings, recipe.augment, device=world.device, read=read)
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
def record_run(
    recipe: PretrainRecipe | FinetuneRecipe,
    loader: Loader,
    unusable: Sequence[MediaError],
    card: Card,
    session: Session,
    world: World,
    origin: Mapping[str, Any] | None = None,
) -> Iterator[Run]:
    """Open the run directory, and record in run.json how the run ends.

    Args:
        recipe: what is trained.
        loader: its batches; of videos that cannot be read it tells the run.
        unusable: videos that are left out from the beginning.
        card: what the network is.
        session: where and how.
        world: the processes that train; the first one writes.
        origin: what fine-tuning starts from.
    """
    if not world.leads:
        world.wait()  # until the first process has made the directory
        run = Run(session.out, read_facts(session.out))
        loader.on_skip = run.skip
        yield run
        return
    with lock_run(session.out, recipe.task):
        with StopSignals() as signals:  # from its creation on, run.json says how the run ended
            data, order = manifest.digest(loader.videos), loader.order.digest()
            own = recipe.without_loggers()
            spec = RunSpec(own, card, data, order, origin or {})
            run = open_run(session.out, spec, resume=session.resume, overwrite=session.overwrite)
            run.log_to(chosen_loggers(recipe.train.loggers, session.loggers), document(own))
        with _record_end(run):
            if signals.received:
                raise Stopped(signals.received)
            for error in unusable:
                run.skip(error)
            dataset = identify_dataset(loader.videos, session.dataset)
            known = dataset and dataset.model_dump(mode="json")
            run.record_state("running", videos=len(loader.videos), dataset=known)
            world.wait()
            loader.on_skip = run.skip
            yield run
        if skipped := len(run.skipped):
            found = counted(skipped, "video was", "videos were")
            warn(f"{found} skipped; see {session.out / BAD_MEDIA}")
        if steps := run.facts["skipped_steps"]:
            found = counted(steps, "step was", "steps were")
            warn(f"{found} skipped; see not_finite in {session.out / METRICS}")


@contextmanager
def _record_end(run: Run) -> Iterator[None]:
    """Record whether the body finished, was stopped or failed, and why."""
    try:
        yield
        run.record_state("finished", skipped=len(run.skipped))
    except BaseException as error:
        if isinstance(error, Stopped):
            error = stopped(error.number, "between two checkpoints")
        elif isinstance(error, KeyboardInterrupt):
            error = Interrupted("interrupted between two checkpoints")
        error = plugin_error(error) or error
        state = error.code if isinstance(error, Preempted | Interrupted) else "failed"
        with suppress(NoRoomError):  # run.json then says "running", which no lock confirms
            run.record_state(state, reason=str(error), skipped=len(run.skipped))
        raise error
    finally:
        run.close()
