"""`--engine ray`: spreads work over the machines of a Ray cluster, a given one or one of its own.

Work is cut into tasks of some seconds. Ray gives each to a worker that is free, and again to
another if the worker or its machine is lost; machines that join get tasks too. Results come back in
order, and this process keeps them as it does without Ray: so they are the same, and if it is killed
the same command goes on.
"""

from __future__ import annotations

import os
import re
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidssl_cli.base.engine import Item, Result
from vidssl_cli.base.errors import MediaError, UsageError, VidsslError
from vidssl_cli.base.signals import WATCHED

if TYPE_CHECKING:
    from vidssl_cli.contract.videos import Video
    from vidssl_cli.model.embedding import Embedded, Every
    from vidssl_cli.model.encoder import Encoder

ADDRESS = "RAY_ADDRESS"
"""Environment variable that names a cluster."""

_RETRIES = 5
"""How often a task is given to another worker after one was lost."""
_AHEAD = 4
"""Tasks of each worker that are given out at a time: what a slow one may keep waiting."""
FRAMES = 1024
"""Frames of the videos that a worker embeds at a time: a second or two."""
_PATIENCE = 10
"""Seconds in which a cluster must answer."""
_SAME = ("vidssl", "torch", "numpy", "av")
"""Packages whose versions results depend on."""


class RayEngine:
    """An `Engine` on a cluster that is connected."""

    def __init__(self, ray: Any) -> None:
        """Take the module."""
        self._ray = ray

    def map(
        self, do: Callable[[Item], Result], items: Sequence[Item], *, gpus: int = 0
    ) -> Iterator[Result]:
        """Do as `Engine.map`, with so many GPUs for each item.

        Raises:
            VidsslError: Workers died with one item again and again; or what ``do`` raises.
        """
        ray = self._ray
        task = ray.remote(num_cpus=0 if gpus else 1, num_gpus=gpus, max_calls=0,
                          max_retries=_RETRIES)(_perform)  # fmt: skip
        shared = ray.put((do, os.getcwd(), _versions()))
        pending: deque[Any] = deque()
        for item in items:
            pending.append(task.remote(shared, item))
            if len(pending) >= _AHEAD * self._workers(gpus):
                yield self._result(pending.popleft())
        while pending:
            yield self._result(pending.popleft())

    def embedder(
        self, run: Path, checkpoint: str, device: str
    ) -> Callable[..., Iterator[Embedded]]:
        """Return what embeds as `vidssl_cli.model.embedding.embed` does, on the cluster.

        Raises:
            UsageError: The device is one of several of a machine.
        """
        from vidssl_cli.data.pack_parts import cut_by_frames

        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {device} is one of this machine, and Ray gives each worker one",
                where="--device",
                hint="with --engine ray give auto, cpu or cuda",
            )
        gpus = int(device != "cpu" and self._total("GPU") > 0)

        def embed(
            encoder: Encoder,
            videos: Sequence[Video],
            *,
            every: Every,
            skipped: list[MediaError],
            label: str,
        ) -> Iterator[Embedded]:
            from vidssl_cli.base.console import track

            job = _Job(os.path.abspath(run), checkpoint, device, encoder.digest, every)
            found = self.map(partial(_embed, job), [*cut_by_frames(videos, FRAMES)], gpus=gpus)
            for each in track(chain.from_iterable(found), label, len(videos)):
                if isinstance(each, MediaError):
                    skipped.append(each)
                else:
                    yield each

        return embed

    def _workers(self, gpus: int) -> int:
        """Return how many tasks the cluster can run at once, as it is now."""
        return max(1, int(self._total("GPU" if gpus else "CPU")))

    def _total(self, resource: str) -> float:
        found: float = self._ray.cluster_resources().get(resource, 0)
        return found

    def _result(self, task: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(task)
        except errors.RayTaskError as error:
            raise error.cause from None
        except errors.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise VidsslError(
                f"{1 + _RETRIES} workers were lost with the same task: {reason}",
                hint="see the logs of the cluster; the same command goes on",
            ) from None


@contextmanager
def ray_engine() -> Iterator[RayEngine]:
    """Connect to a cluster, or start one on this machine for as long as this is entered.

    Raises:
        VidsslError: Ray is not installed, or the cluster is not there.
    """
    if find_spec("ray") is None:
        raise VidsslError(
            "--engine ray needs Ray", hint="install it by `pip install 'vidssl[ray]'`"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    import ray

    address = os.environ.get(ADDRESS)
    _require_cluster(address)
    local = {} if address else {"include_dashboard": False}
    before = {number: signal.getsignal(number) for number in WATCHED}
    ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **local)
    for number, handler in before.items():  # Ray replaces that of SIGTERM
        signal.signal(number, handler)
    try:
        yield RayEngine(ray)
    finally:
        ray.shutdown()


def _require_cluster(address: str | None) -> None:
    """Refuse an address at which nobody listens; Ray would wait for minutes.

    Raises:
        VidsslError: It is so.
    """
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address or "")
    if match is None:
        return
    try:
        socket.create_connection((match[1], int(match[2])), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise VidsslError(
            f"there is no Ray cluster at {address}: {error}",
            where=ADDRESS,
            hint=f"start one by `ray start --head`, or unset {ADDRESS} for one of this machine",
        ) from None


@dataclass(frozen=True)
class _Job:
    """What a worker has to know to embed."""

    run: str
    checkpoint: str
    device: str
    digest: str
    every: Every


def _perform(shared: tuple[Callable[[Any], Any], str, dict[str, str]], item: Any) -> Any:
    """Run one task, on a worker.

    Raises:
        VidsslError: The worker has not the same files, or other packages.
    """
    do, folder, versions = shared
    place = f"the worker on {os.uname().nodename}"
    if versions != _versions():
        raise VidsslError(
            f"{place} has {_versions()}, and this process {versions}",
            hint="install the same versions on all machines, so that results are the same",
        )
    try:
        os.chdir(folder)  # paths may be relative
    except OSError as error:
        raise VidsslError(
            f"{place} does not see {folder}: {error.strerror}",
            hint="all machines must see the same files by the same paths",
        ) from None
    return do(item)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _SAME}


def _embed(job: _Job, videos: Sequence[Video]) -> list[Embedded | MediaError]:
    """Embed some videos, on a worker; return an error for each that cannot be read."""
    from vidssl_cli.model.embedding import embed

    encoder, digest = _load(job.run, job.checkpoint, job.device)
    if digest != job.digest:
        raise UsageError(
            f"{job.run} has other weights now than when the command began",
            hint="give a run that is not being trained, or --checkpoint best",
        )
    skipped: list[MediaError] = []
    return [*embed(encoder, videos, every=job.every, skipped=skipped), *skipped]


@cache
def _load(run: str, checkpoint: str, device: str) -> tuple[Encoder, str]:
    from vidssl_cli.model.encoder import Encoder

    encoder = Encoder.load(Path(run), device, checkpoint)
    return encoder, encoder.digest
