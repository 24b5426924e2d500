"""Runs chains of commands, several at a time, each with a log; a signal stops them all."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import FrameType

from vidssl_cli.base.cores import usable_cores
from vidssl_cli.base.signals import PARENT, watch

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

    def __init__(self, at_once: int, environment: Mapping[str, str] | None = None) -> None:
        """Prepare; nothing is started yet.

        Args:
            at_once: Jobs at a time.
            environment: Of the commands; that of this process if not given.
        """
        self.at_once = at_once
        self.environment = {**(os.environ if environment is None else environment)}
        self.environment[PARENT] = str(os.getpid())
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
            with ThreadPoolExecutor(self.at_once, thread_name_prefix="jobs") as pool:
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
        with job.log.open("ab") as log:
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
                        env=self.environment,
                        start_new_session=True,
                    )
                    self._running.add(process)
                status = process.wait()
                with self._lock:
                    self._running.discard(process)
                if status:
                    break
        return Finished(job, status, time.monotonic() - began)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        again = self.received and number == signal.SIGINT
        self.received = number
        with self._lock:
            for process in self._running:
                process.kill() if again else process.terminate()


def shared_cores(at_once: int) -> dict[str, str]:
    """Return this process's environment, in which every job has its share of the cores."""
    threads = max(1, usable_cores() // at_once)
    return {"OMP_NUM_THREADS": str(threads), **os.environ}
