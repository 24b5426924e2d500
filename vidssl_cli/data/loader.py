"""Training batches, epoch by epoch: plans, decoding in threads, augmentation one batch ahead.

Which videos make which step, and what every sample is, depends on the seed alone: not on the number
of threads or processes, and not on where a run was interrupted.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import torch

from vidssl_cli.base.errors import MediaError, PluginError, UsageError, VidsslError, noted
from vidssl_cli.contract.clips import ClipPlan, known_frames
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Maker
from vidssl_cli.data.views import PREFETCH
from vidssl_cli.media.flow import check_flow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidssl_cli.config.sections import Augment, Input
    from vidssl_cli.contract.clips import Batch, Draw, Sampler
    from vidssl_cli.contract.hooks import Stream
    from vidssl_cli.contract.videos import FlowMethod, Video
    from vidssl_cli.data.samples import Sample


class Loader:
    """The training batches of a run, epoch by epoch.

    Every process of a distributed run plans the same global batch and keeps its part of it.
    """

    def __init__(
        self,
        videos: Sequence[Video],
        sampler: Sampler,
        settings: Input,
        augmentation: Augment,
        *,
        seed: int,
        batch_videos: int,
        repeats: int = 1,
        epochs: int | None = None,
        streams: frozenset[Stream] = frozenset(),
        flow: FlowMethod = "dis",
        labels: NDArray[np.int64] | None = None,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        device: torch.device | None = None,
        on_skip: Callable[[MediaError], None] | None = None,
    ) -> None:
        """Check that the videos fill a batch.

        Args:
            videos: the data set; a video's index in it addresses its random draws.
            sampler: plans the clips.
            settings: the network's input.
            augmentation: how clips vary.
            seed: addresses every random draw.
            batch_videos: videos per step over all processes.
            repeats: visits to every video in an epoch.
            epochs: of the run, for samplers that change with its progress; with None batches draw
                on everything.
            streams: what batches shall hold beside clips.
            flow: how optical flow is computed where the data hold none.
            labels: (N,) class of every video, which becomes the batch's label ``class``.
            rank: number of this process.
            processes: how many share the batch.
            workers: decoding threads; 0 decodes in the training thread; None takes one per core.
            device: where batches are made.
            on_skip: told of every video that cannot be read, whose place in the batch stays empty;
                with None such a video is an error.

        Raises:
            UsageError: the batch cannot be filled, or not be shared by the processes; or there is
                no optical flow of that method and no way to compute it.
        """
        if batch_videos % processes:
            raise UsageError(
                f"train.batch_videos is {batch_videos}, which {processes} processes cannot share",
                hint=f"choose a multiple of {processes}",
            )
        if batch_videos // processes % sampler.together:
            raise UsageError(
                f"train.batch_videos is {batch_videos}, of which each of {processes} processes "
                f"gets {batch_videos // processes}; the sampler plans {sampler.together} together",
                hint=f"choose a multiple of {processes * sampler.together}",
            )
        if "flow" in streams:
            check_flow(videos, flow)
        self.order = Order(
            videos, sampler, seed=seed, batch_videos=batch_videos, repeats=repeats, epochs=epochs
        )
        self.steps = self.order.steps
        self.videos = videos
        self.sampler = sampler
        self.settings = settings
        self.maker = Maker(
            settings, augmentation, streams, flow, device=device or torch.device("cpu")
        )
        self.batch_videos = batch_videos
        self.labels = labels
        share = batch_videos // processes
        self.part = slice(rank * share, (rank + 1) * share)
        self.workers = (os.cpu_count() or 1) if workers is None else workers
        self.on_skip = on_skip
        self._delivered = 0
        self._working = 0.0
        self._collating = 0.0

    def offer(self) -> float:
        """Return how many clips per second this process could have delivered so far.

        All workers are taken to be busy all the time, beside whatever else the machine does.
        """
        decoding = self._working / max(1, self.workers)
        both = (decoding, self._collating)
        seconds = max(both) if self.workers else sum(both)
        return self._delivered / seconds if seconds else 0.0

    def plan(self, epoch: int, step: int) -> list[tuple[int, Draw, ClipPlan]]:
        """Plan the global batch of one step: video index, its draw and its clips.

        Raises:
            PluginError: a plan is impossible.
        """
        numbers, draws = self.order.visits(epoch * self.steps + step)
        videos = [self.videos[n] for n in numbers]
        with noted(lambda: f"step {step + 1} of epoch {epoch + 1}"):
            plans = self.sampler.plan_batch(videos, draws)
        for video, plan in zip(videos, plans, strict=True):
            check_plan(plan, video)
        return list(zip(numbers, draws, plans, strict=True))

    def epoch(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """Yield this process's part of the batches of an epoch, from a given step on."""
        return self.batches(epoch * self.steps + first_step, (epoch + 1) * self.steps)

    def batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        """Yield this process's part of the batches of steps, counted from the run's beginning.

        What comes next is got ready beyond the end of an epoch, up to the step before ``last``.

        Raises:
            MediaError: no video of a batch can be read, or nobody wants to be told of one.
            VidsslError: a worker failed for another reason.
        """
        if not self.workers:
            yield from map(self._collate, self._decoded(first, last, None))
            return
        pool = ThreadPoolExecutor(self.workers, "decode")
        augmenting = ThreadPoolExecutor(1, "augment")
        try:
            decoded = self._decoded(first, last, pool)
            yield from _one_ahead(augmenting, self._collate, decoded)
        finally:  # whoever stops does not wait for a file that is slow to decode
            pool.shutdown(wait=False, cancel_futures=True)
            augmenting.shutdown(wait=False, cancel_futures=True)

    def _decoded(
        self, first: int, last: int, pool: ThreadPoolExecutor | None
    ) -> Iterator[list[Sample]]:
        """Yield the samples of step after step, while those of later steps are being decoded."""
        steps = iter(range(first, last))
        ahead: deque[list[Callable[[], Sample]]] = deque()
        for step in islice(steps, PREFETCH):
            ahead.append(self._start(self.plan(*divmod(step, self.steps)), pool))
        while ahead:
            samples = self._finish(ahead.popleft())
            for step in islice(steps, 1):
                ahead.append(self._start(self.plan(*divmod(step, self.steps)), pool))
            yield samples

    def peek(self, epoch: int, step: int, videos: int) -> tuple[list[Sample], Batch]:
        """Load only the first videos of a step, with all that was decided about each.

        The whole global batch is planned, so that they are what they are in `epoch`.

        Raises:
            UsageError: the epoch has no such step.
            MediaError: as in `epoch`.
        """
        if step >= self.steps:
            raise UsageError(
                f"there is no step {step}: an epoch has {self.steps}",
                hint="steps are counted from 0",
            )
        planned = self.plan(epoch, step)[:videos]
        samples = self._finish([partial(self._load, *item) for item in planned])
        return samples, self._collate(samples)

    def _start(
        self, planned: list[tuple[int, Draw, ClipPlan]], pool: ThreadPoolExecutor | None
    ) -> list[Callable[[], Sample]]:
        """Begin to load this process's part; each result is had by calling it."""

        def begin(number: int, draw: Draw, plan: ClipPlan) -> Callable[[], Sample]:
            if pool is None:
                return lambda: self._load(number, draw, plan)
            future: Future[Sample] = pool.submit(self._load, number, draw, plan)
            return future.result

        return [begin(*item) for item in planned[self.part]]

    def _load(self, number: int, draw: Draw, plan: ClipPlan) -> Sample:
        try:
            return self.maker.sample(number, self.videos[number], draw, plan)
        except VidsslError:
            raise
        except Exception as error:
            path = self.videos[number].path
            raise VidsslError(
                f"a worker failed at {path}: {type(error).__name__}: {error}",
                where=path,
                hint="if memory ran out, give fewer --workers",
            ) from error

    def _finish(self, loading: Sequence[Callable[[], Sample]]) -> list[Sample]:
        samples = []
        for result in loading:
            try:
                samples.append(result())
            except MediaError as error:
                if self.on_skip is None:
                    raise
                last = error
                self.on_skip(error)
        if not samples:
            raise MediaError(
                f"no video of a batch of {len(loading)} can be read; the last one: {last}",
                where=last.where,
                hint="check the data with `vidssl data scan`",
            )
        return samples

    def _collate(self, samples: list[Sample]) -> Batch:
        begun = time.monotonic()
        batch = self.maker.batch(samples)
        self._delivered += batch.clips.shape[:2].numel()
        self._working += sum(sample.seconds for sample in samples)
        self._collating += time.monotonic() - begun
        if self.labels is not None:
            classes = self.labels[[sample.video for sample in samples]]
            batch.labels["class"] = torch.from_numpy(classes).to(batch.video.device)
        return batch


def check_plan(plan: object, video: Video) -> None:
    """Refuse what is no plan, or one of frames that the video does not have.

    Raises:
        PluginError: the sampler is broken.
    """
    if not isinstance(plan, ClipPlan):
        raise PluginError(
            f"the sampler makes of {video.path} a {type(plan).__name__}, not a ClipPlan",
            where=video.path,
            hint="check the sampler with vidssl_cli.testing.check_sampler",
        )
    for view in plan.views:
        if view.frames.min() < 0 or view.frames.max() >= known_frames(video):
            raise PluginError(
                f"the sampler plans frames {view.frames.min()} to {view.frames.max()} of "
                f"{video.path}, which has {known_frames(video)}",
                where=video.path,
                hint="check the sampler with vidssl_cli.testing.check_sampler",
            )


def _one_ahead(
    pool: ThreadPoolExecutor, make: Callable[[list[Sample]], Batch], items: Iterator[list[Sample]]
) -> Iterator[Batch]:
    """Make batch after batch, each while the one before it is in use."""
    coming: Future[Batch] | None = None
    for item in items:
        previous, coming = coming, pool.submit(make, item)
        if previous:
            yield previous.result()
    if coming:
        yield coming.result()
