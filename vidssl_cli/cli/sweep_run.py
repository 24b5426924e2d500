"""Runs what is left of a sweep, with progress on stderr."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from vidssl_cli.base.console import bar, say, warn
from vidssl_cli.base.signals import stopped
from vidssl_cli.base.wording import counted, duration, share
from vidssl_cli.cli.sweep_jobs import Finished, Job, JobPool, places
from vidssl_cli.cli.sweep_plan import Command, PlannedRun


def shell_line(run: PlannedRun) -> str:
    """Return what is left of a run as one line for a shell."""
    return " && ".join(shlex.join(("vidssl", *command)) for command in run.commands)


def run_jobs(
    runs: Sequence[PlannedRun],
    at_once: int,
    gpus: Sequence[str] = (),
    program: Command = (sys.executable, "-m", "vidssl_cli"),
) -> dict[Path, int]:
    """Do what is left of the runs; one that fails does not stop the others.

    Args:
        runs: Of a plan.
        at_once: How many run at a time; they share the cores.
        gpus: Names of those that they share.
        program: The command ``vidssl``.

    Returns:
        The exit status of every run that was not done.

    Raises:
        Preempted, Interrupted: A signal arrived, and was passed on to the commands.
    """
    jobs = [
        Job(
            str(run.folder),
            [[*program, *command] for command in run.commands],
            run.folder.with_suffix(".log"),
        )
        for run in runs
        if run.commands
    ]
    say(f"{counted(len(runs), 'run')}, {len(jobs)} of them not done; {at_once} at a time")
    if gpus and at_once > len(gpus):
        say(f"{at_once} runs at a time share {counted(len(gpus), 'GPU')}")
    pool = JobPool(places(at_once, gpus))

    def report(done: Finished) -> None:
        if pool.received and done.status != 0:
            return
        name, so_far = done.job.name, advance()
        if done.status == 0:
            say(f"{so_far}: {name} took {duration(done.seconds)}")
        else:
            reason = f"ended with status {done.status}: {_last_line(done.job.log)}"
            warn(f"{so_far}: {name} {reason}; see {done.job.log}")

    with bar("runs", len(jobs)) as advance:
        found = pool.run(jobs, report)
    if pool.received:
        done = sum(each.status == 0 for each in found)
        what = f"after {share(done, len(jobs), 'run')}"
        raise stopped(pool.received, what, hint="give the same command again to go on")
    return {Path(each.job.name): each.status or 0 for each in found}


def _last_line(log: Path) -> str:
    """Return the last line of a log that is no hint."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    told = [line for line in lines if line.strip() and not line.startswith("hint: ")]
    return told[-1] if told else "its log is empty"
