"""Training batches, step by step: plans, decoding in threads, augmentation one batch ahead.

Which videos make which step, and what every sample is, depends on the seed alone: not on the number
of threads or processes, and not on where a run was interrupted.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.errors import MediaError, PluginError, UsageError, VidsslError, noted
from vidssl_cli.contract.clips import ClipPlan, known_frames
from vidssl_cli.data.parts import Parts
from vidssl_cli.data.transfer import SideStream
from vidssl_cli.data.views import PREFETCH
from vidssl_cli.media.flow import check_flow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vidssl_cli.contract.clips import Batch, Draw
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.data.order import Order
    from vidssl_cli.data.samples import Pipeline, Sample

    Planned = tuple[int, Draw, ClipPlan]
    """A visit to a video: its index, the draw of the visit, and the clips."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Throughput:
    """What a loader has delivered, and how long its threads worked on it."""

    clips: int = 0
    decoding: float = 0.0
    """Seconds of all workers together."""
    augmenting: float = 0.0
    """Seconds of the thread that makes batches of samples."""
    planning: float = 0.0
    """Seconds of the thread that decides what they are made of."""

    def capacity(self, workers: int) -> float:
        """Return the clips per second of so many workers that never wait; 0 before any clip.

        Without workers one thread does everything.
        """
        parts = (self.decoding / max(1, workers), self.augmenting, self.planning)
        seconds = max(parts) if workers else sum(parts)
        return self.clips / seconds if seconds else 0.0


class Loader:
    """The training batches of a run, step by step.

    Every process of a distributed run knows the same global batch, and plans its part of it.
    """

    def __init__(
        self,
        order: Order,
        pipeline: Pipeline,
        *,
        labels: NDArray[np.int64] | None = None,
        rank: int = 0,
        processes: int = 1,
        workers: int | None = None,
        on_skip: Callable[[MediaError], None] | None = None,
    ) -> None:
        """Check that the processes can share a batch.

        Args:
            order: which videos make which step; a video's index in it addresses its random draws.
            pipeline: from a planned video to clips.
            labels: (N,) class of every video, which becomes the batch's label ``class``.
            rank: number of this process.
            processes: how many share the batch.
            workers: decoding threads; 0 decodes in the training thread; None takes one for each
                core that may be used.
            on_skip: told of every video that cannot be read, whose place in the batch stays empty;
                with None such a video is an error.

        Raises:
            UsageError: the processes cannot share the batch; or there is no optical flow of the
                method that the pipeline asks for, and no way to compute it.
        """
        self.order = order
        self.pipeline = pipeline
        self.labels = labels
        self.workers = usable_cores() if workers is None else workers
        self.on_skip = on_skip
        self.throughput = Throughput()
        self._stream = SideStream(pipeline.device)
        part = _part_of_a_process(order, processes)
        self._part = slice(rank * part, (rank + 1) * part)
        if "flow" in pipeline.streams:
            check_flow(order.videos, pipeline.flow)

    @property
    def videos(self) -> Sequence[Video]:
        """The data set."""
        return self.order.videos

    @property
    def steps(self) -> int:
        """Steps of an epoch; the same in every epoch."""
        return self.order.steps

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a clip."""
        side = self.pipeline.settings.crop
        return (3, self.order.sampler.frames, side, side)

    def capacity(self) -> float:
        """Return how many clips per second this process could have delivered so far.

        All workers are taken to be busy all the time, whatever else the machine does meanwhile.
        """
        return self.throughput.capacity(self.workers)

    def plan(self, epoch: int, step: int, part: slice = slice(None)) -> list[Planned]:
        """Plan the global batch of one step, or a part of it.

        Raises:
            PluginError: a plan is impossible.
        """
        begun = time.monotonic()
        numbers, draws = self.order.visits(epoch * self.steps + step)
        videos = [self.videos[n] for n in numbers]
        with noted(lambda: f"step {step + 1} of epoch {epoch + 1}"):
            plans = self.order.sampler.plan_part(videos, draws, part)
        for video, plan in zip(videos[part], plans, strict=True):
            check_plan(plan, video)
        self.throughput.planning += time.monotonic() - begun
        return list(zip(numbers[part], draws[part], plans, strict=True))

    def epoch(self, epoch: int, first_step: int = 0) -> Generator[Batch, None, None]:
        """Yield this process's part of the batches of an epoch, from a given step on."""
        return self.batches(epoch * self.steps + first_step, (epoch + 1) * self.steps)

    def batches(self, first: int, last: int) -> Generator[Batch, None, None]:
        """Yield what `in_parts` does, each batch as a whole."""
        with closing(self.in_parts(first, last, 1)) as steps:
            for (batch,) in steps:
                yield batch

    def in_parts(self, first: int, last: int, parts: int) -> Generator[Parts, None, None]:
        """Yield this process's part of the batches of steps, counted from the run's beginning.

        Batches are prepared beyond the end of an epoch, up to the step before ``last``.

        Args:
            first: step.
            last: the step after the last one.
            parts: into which each batch is cut.

        Raises:
            MediaError: no video of a batch can be read, or there is no `on_skip` to tell of one.
            VidsslError: a worker failed for another reason.
        """
        if not self.workers:
            for step in range(first, last):
                samples = self._finish(self._begin(step, None))
                yield Parts(samples, parts, self._collate, self._collate).make_first()
            return
        pool, planning, augmenting = (
            ThreadPoolExecutor(count, name)
            for count, name in ((self.workers, "decode"), (1, "plan"), (1, "augment"))
        )
        try:
            begin = partial(self._begin, pool=pool)
            decoded = map(self._finish, _ahead(planning, begin, range(first, last), 1 + PREFETCH))

            def begin_part(samples: Sequence[Sample]) -> Callable[[], Batch]:
                made = augmenting.submit(self._collate, samples)
                return lambda: made.result()()

            cut = (Parts(samples, parts, self._collate, begin_part) for samples in decoded)
            yield from _ahead(augmenting, Parts.make_first, cut, 1)
        finally:  # stopping does not wait for a file that is slow to decode
            for threads in (planning, pool, augmenting):
                threads.shutdown(wait=False, cancel_futures=True)

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
        samples = self._finish(self._start(self.plan(epoch, step)[:videos], None))
        return samples, self._collate(samples)()

    def _begin(self, step: int, pool: ThreadPoolExecutor | None) -> list[Callable[[], Sample]]:
        """Plan this process's part of a step, and begin to load it if there is a pool."""
        return self._start(self.plan(*divmod(step, self.steps), self._part), pool)

    def _start(
        self, planned: Sequence[Planned], pool: ThreadPoolExecutor | None
    ) -> list[Callable[[], Sample]]:
        """Begin to load samples, if there is a pool; each is returned by calling its function."""
        if pool is None:
            return [partial(self._load, *visit) for visit in planned]
        return [pool.submit(self._load, *visit).result for visit in planned]

    def _load(self, number: int, draw: Draw, plan: ClipPlan) -> Sample:
        try:
            return self.pipeline.load(number, self.videos[number], draw, plan)
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
        """Return the samples of the videos that can be read."""
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

    def _collate(self, samples: Sequence[Sample]) -> Callable[[], Batch]:
        """Make a batch, which the thread that uses it gets by calling what is returned."""
        begun = time.monotonic()
        labels = {}
        if self.labels is not None:
            labels["class"] = self.labels[[sample.video for sample in samples]]
        made = self._stream.make(lambda: self.pipeline.collate(samples, labels))
        self.throughput.clips += sum(sample.pictures.shape[0] for sample in samples)
        self.throughput.decoding += sum(sample.seconds for sample in samples)
        self.throughput.augmenting += time.monotonic() - begun
        return made


def _part_of_a_process(order: Order, processes: int) -> int:
    """Return how many videos of a batch each process gets.

    Raises:
        UsageError: the batch cannot be cut so.
    """
    part, rest = divmod(order.batch_videos, processes)
    if rest:
        raise UsageError(
            f"train.batch_videos is {order.batch_videos}, which {processes} processes cannot share",
            hint=f"choose a multiple of {processes}",
        )
    if part % order.sampler.together:
        raise UsageError(
            f"train.batch_videos is {order.batch_videos}, of which each of {processes} processes "
            f"gets {part}; the sampler plans {order.sampler.together} together",
            hint=f"choose a multiple of {processes * order.sampler.together}",
        )
    return part


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


def _ahead(
    pool: ThreadPoolExecutor, make: Callable[[T], R], items: Iterable[T], count: int
) -> Iterator[R]:
    """Make so many things in threads while the one before them is in use."""
    coming: deque[Future[R]] = deque()
    for item in items:
        coming.append(pool.submit(make, item))
        if len(coming) > count:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()
