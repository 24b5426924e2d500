"""Runs chains of commands, several at a time, each with a log; a signal stops them all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import RLock
from types import FrameType

from vidssl_cli.base.cores import CORES, usable_cores
from vidssl_cli.base.signals import PARENT, watch

VISIBLE = "CUDA_VISIBLE_DEVICES"
POLL = 0.2
"""Seconds until a signal is noticed, at most."""


@dataclass(frozen=True)
class Job:
    """Commands to run one after another, until one fails."""

    name: str
    commands: Sequence[Sequence[str]]
    log: Path
    """Their output is appended to it."""


@dataclass(frozen=True)
class Finished:
    """How a job ended."""

    job: Job
    status: int | None
    """Exit status of the last command, negative if a signal killed it; None if a signal came
    before the next one began."""
    seconds: float = 0


class JobPool:
    """Runs jobs.

    Every command is a process in a session of its own, so that Ctrl-C reaches it through the pool
    alone. A signal ends all commands by SIGTERM, on which training saves a checkpoint; a second
    Ctrl-C kills them. If this process is killed, they end too.
    """

    def __init__(self, places: Sequence[Mapping[str, str]]) -> None:
        """Prepare; nothing is started yet.

        Args:
            places: As many as there are jobs at a time: what the environment of the commands has in
                addition to, or instead of, that of this process.
        """
        self._places: SimpleQueue[dict[str, str]] = SimpleQueue()
        for place in places:
            self._places.put({**os.environ, **place, PARENT: str(os.getpid())})
        self._at_once = len(places)
        self.received = 0
        """The number of the signal that stopped the jobs, or 0."""
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = RLock()  # a second signal may interrupt what the first one does

    def run(self, jobs: Sequence[Job], report: Callable[[Finished], None]) -> list[Finished]:
        """Run jobs in their order; call this in the main thread, which alone receives signals.

        Args:
            jobs: What to run.
            report: Called with each job that ended, in the job's thread.
        """

        def run(job: Job) -> Finished:
            done = self._run(job)
            report(done)
            return done

        before = watch(self._stop)
        try:
            with ThreadPoolExecutor(self._at_once, thread_name_prefix="jobs") as pool:
                futures = [pool.submit(run, job) for job in jobs]
                # Handlers run here, but the system may hand a signal to a thread of a job, which
                # does not wake this one.
                while wait(futures, timeout=POLL).not_done:
                    pass
                return [future.result() for future in futures]
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run(self, job: Job) -> Finished:
        began, status = time.monotonic(), None
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log, self._place() as environment:
            for command in job.commands:
                with self._lock:  # none begins while a signal stops the others
                    if self.received:
                        status = None
                        break
                    process = subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=environment,
                        start_new_session=True,
                    )
                    self._running.add(process)
                status = process.wait()
                with self._lock:
                    self._running.discard(process)
                if status:
                    break
        return Finished(job, status, time.monotonic() - began)

    @contextmanager
    def _place(self) -> Iterator[dict[str, str]]:
        """Take the environment of a place that no other job has now."""
        environment = self._places.get()
        try:
            yield environment
        finally:
            self._places.put(environment)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        again = self.received and number == signal.SIGINT
        self.received = number
        with self._lock:
            for process in self._running:
                process.kill() if again else process.terminate()


def places(at_once: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Return for each of several jobs at a time its share of the cores and of the GPUs.

    Args:
        at_once: Jobs at a time; those that are more than the GPUs share them.
        gpus: Names of the GPUs; if there are none, what jobs see of them is not changed.
    """
    cores = str(max(1, usable_cores() // at_once))
    share = {CORES: cores, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", cores)}
    seen = [gpus[job::at_once] or [gpus[job % len(gpus)]] for job in range(at_once) if gpus]
    return [share | {VISIBLE: ",".join(names)} for names in seen] or [share] * at_once


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that this process may use: numbers, UUIDs or names of MIG."""
    # torch takes no memory of any GPU when it counts them.
    import torch

    count, named = torch.cuda.device_count(), os.environ.get(VISIBLE)
    if named is None:
        return [*map(str, range(count))]
    names = [name.strip() for name in named.split(",")]
    # One process sees one part of a GPU (MIG) at most, but each may see another.
    return names if count and names[0].startswith("MIG") else names[:count]
