"""Signals at random moments: training saves and says how it ended, nothing lives on.

The number of a case chooses what goes on when the signal comes, and the signal; everything else
about the moment is drawn. Processes are known by an entry of their environment.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from torture.harness import Broken, Case, Facts, Suite

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
STATES = {
    signal.SIGTERM: ("preempted", 75),
    signal.SIGUSR1: ("preempted", 75),
    signal.SIGINT: ("interrupted", 130),
}
PROMISED = 5.0
"""Seconds from the signal to the checkpoint, beside one step."""
LAUNCHER = 40.0
"""Seconds in which torchrun gives up a worker that does not stop, and then some."""
CPU = ("--device", "cpu")
MARK = "VIDSSL_TORTURE_CASE"
"""In the environment of every process of a case."""
TORCHRUN = (
    *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    *("-m", "vidssl_cli"),
)
SLOW = """
import itertools, time
from vidssl_cli.data import {module}

calls = itertools.count()

def slow(*arguments, **more):
    if next(calls) >= {quick}:
        time.sleep(60)
    return decode(*arguments, **more)

decode, {module}.decode_views = {module}.decode_views, slow
from vidssl_cli.__main__ import main
main()
"""
"""Starts the command line with files that take a minute each, but for the first ones."""


def prepare(shared: Path) -> None:
    """Make videos of moving noise, recipes, and a run that is trained."""
    from torture._media import write_noise
    from vidssl_cli.cli import app, failures

    (shared / "videos").mkdir()
    rows = []
    for number in range(12):
        split = "train" if number < 8 else "test"
        write_noise(shared / "videos" / f"{number}.mp4", number, step=1 + number % 3)
        rows.append(
            {"path": f"videos/{number}.mp4", "label": f"class {number % 3}", "split": split}
        )
    (shared / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    optimizer = {"name": "adamw", "lr": 1e-3}
    train = {"epochs": 2000, "batch_videos": 4, "precision": "fp32", "optimizer": optimizer}
    pretrain = {
        "input": {"resize": [24, 32], "crop": 16, "mode": "residual"},
        "backbone": {"name": "r3d", "depth": 10, "width": 4},
        "sampler": {"name": "pace", "views": 2, "frames": 8, "paces": [1, 2, 3]},
        "pretext": [{"name": "pace"}, {"name": "same_context", "weight": 0.1}],
        "train": train,
    }
    finetune = {"task": "finetune", "sampler": {"name": "uniform", "frames": 8}, "train": train}
    (shared / "pretrain.yaml").write_text(json.dumps(pretrain))
    (shared / "finetune.yaml").write_text(json.dumps(finetune))
    run, data = str(shared / "run"), ("--data", str(shared / "videos.jsonl"), *CPU)
    recipe = str(shared / "pretrain.yaml")
    for words in (
        ["pretrain", recipe, "--out", run, "--set", "train.epochs=1", *data],
        ["index", run, "--out", str(shared / "index"), *data],
    ):
        if status := failures.run(app, words):
            raise Broken(f"{words} ended with {status}")


def run(case: Case) -> Facts:
    """Carry out what the number says."""
    scene = SCENES[case.number % len(SCENES)]
    number = SIGNALS[case.number // len(SCENES) % len(SIGNALS)]
    facts = scene(case, number)
    if scene is not worker:  # what is killed may leave something, which the next start sweeps away
        _nothing_half_written(case.folder)
    return {"scene": scene.__name__, "signal": number.name, **facts}


class Started:
    """A command of a case, and what its run directory tells meanwhile."""

    def __init__(
        self,
        case: Case,
        program: Sequence[str],
        words: Sequence[str],
        interpreter: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.case = case
        self.out = case.folder / "out"
        self.said = case.folder / "said.txt"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [interpreter, *program, *words],
                cwd=case.shared,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", MARK: str(case.folder)}
                | dict(environment or {}),
                start_new_session=True,
            )
        self.step = 0.0
        """Longest time from one row of metrics to the next, in seconds."""

    def text(self) -> str:
        """Return what was said so far."""
        return self.said.read_text(errors="replace")

    def wait_until(self, there: Callable[[], bool]) -> None:
        """Wait for something that is to happen before the process ends."""
        while not there():
            if self.process.poll() is not None:
                raise Broken(f"ended with {self.process.returncode} too early:\n{self.text()}")
            time.sleep(0.01)

    def wait_for_handlers(self) -> None:
        """Wait until the process has taken over from Python, which is a tenth of a second."""
        self.wait_until(lambda: _catches(self.process.pid, signal.SIGTERM))

    def wait_for_steps(self, count: int) -> None:
        """Wait until so many steps were logged."""
        for wanted in range(1, count + 1):
            began = time.monotonic()
            self.wait_until(lambda wanted=wanted: len(_steps(self.out)) >= wanted)
            if wanted > 1:
                self.step = max(self.step, time.monotonic() - began)

    def signal(self, number: signal.Signals, process: int | None = None) -> float:
        """Send a signal; return the time of the wall clock."""
        os.kill(process or self.process.pid, number)
        return time.time()

    def ends(self, limit: float, statuses: Sequence[int]) -> float:
        """Wait for the end; return the seconds. Nothing of the case may live on."""
        began = time.monotonic()
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            for process in _alive(self.case.folder):
                process.kill()
            raise Broken(f"still running {limit:g} s later:\n{self.text()}") from None
        seconds = time.monotonic() - began
        if status not in statuses:
            raise Broken(f"ended with {status}, not {statuses}:\n{self.text()}")
        self.leaves_nobody(PROMISED)
        return seconds

    def leaves_nobody(self, limit: float) -> None:
        """Wait until no process of the case is left."""
        deadline = time.monotonic() + limit
        while orphans := _alive(self.case.folder):
            if time.monotonic() > deadline:
                found = [f"{process.pid}: {' '.join(process.cmdline())}" for process in orphans]
                for process in orphans:
                    process.kill()
                raise Broken(f"processes live on: {found}\n{self.text()}")
            time.sleep(0.05)


def training(case: Case, number: signal.Signals) -> Facts:
    """A signal comes somewhere in the steps of training, saves and ends of epochs."""
    started = Started(case, ("-m", "vidssl_cli"), _pretrain(case))
    return _stopped_in_training(started, number)


def twice(case: Case, number: signal.Signals) -> Facts:
    """The launcher, or an impatient user, sends it twice, or another one after it."""
    started = Started(case, ("-m", "vidssl_cli"), _pretrain(case))
    return _stopped_in_training(started, number, again=case.random.choice([number, *SIGNALS]))


def torchrun(case: Case, number: signal.Signals) -> Facts:
    """The agent of torchrun gets it, and passes it on to two processes."""
    started = Started(case, TORCHRUN, _pretrain(case))
    return _stopped_in_training(started, number, status=1)


def agent(case: Case, number: signal.Signals) -> Facts:
    """The agent is killed: its processes must notice by themselves."""
    started = Started(case, TORCHRUN, _pretrain(case))
    facts = _stopped_in_training(started, signal.SIGKILL, status=-signal.SIGKILL)
    return {**facts, "signal": "SIGKILL"}


def worker(case: Case, number: signal.Signals) -> Facts:
    """One of two processes is killed: the other one must not wait for it for ever."""
    started = Started(case, TORCHRUN, _pretrain(case))
    started.wait_for_steps(case.random.randrange(1, 6))
    time.sleep(case.random.uniform(0, 0.3))
    workers = psutil.Process(started.process.pid).children()
    started.signal(signal.SIGKILL, case.random.choice(workers).pid)
    seconds = started.ends(LAUNCHER, [1])
    state = _json(started.out / "run.json")["state"]
    if state not in {"failed", "running"}:  # of the first one nothing more was heard
        raise Broken(f"run.json says {state}:\n{started.text()}")
    return {"ended": round(seconds, 2), "signal": "SIGKILL"}


def start(case: Case, number: signal.Signals) -> Facts:
    """A signal comes while modules are imported, data scanned, the directory opened."""
    started = Started(case, ("-m", "vidssl_cli"), _pretrain(case))
    started.wait_for_handlers()
    if case.random.random() < 0.6:
        started.wait_until(lambda: "learning from" in started.text())  # modules and data are there
    time.sleep(case.random.uniform(0, 2))
    sent = started.signal(number)
    state, status = STATES[number]
    seconds = started.ends(LAUNCHER, [status])
    _one_line(started, number)
    began = (started.out / "run.json").exists()
    if began:
        _says(started, state)
    if _steps(started.out):
        _on_disk(started, sent)
    return {"ended": round(seconds, 2), "began": began}


def validation(case: Case, number: signal.Signals) -> Facts:
    """A signal comes while fine-tuning measures itself, which would take a minute more."""
    slow = SLOW.format(module="views", quick=0)
    words = ["finetune", "finetune.yaml", "--from", "run", *_place(case)]
    started = Started(case, ("-c", slow), words)
    started.wait_for_steps(2)  # an epoch
    time.sleep(case.random.uniform(0, 1))
    return _ends_well(started, number, started.signal(number))


def decoding(case: Case, number: signal.Signals) -> Facts:
    """A signal comes while training waits for a file that is slow to decode."""
    slow = SLOW.format(module="samples", quick=case.random.randrange(16, 40))
    workers = case.random.choice(["0", "2"])
    started = Started(case, ("-c", slow), [*_pretrain(case), "--workers", workers])
    started.wait_for_steps(2)
    time.sleep(case.random.uniform(0, 4))
    return _ends_well(started, number, started.signal(number))


def command(case: Case, number: signal.Signals) -> Facts:
    """A signal ends any other command at once, and leaves the old state or the new one."""
    out = str(case.folder / "out")
    data = ("--data", "videos.jsonl")
    words: list[str] = case.random.choice(
        [
            ["index", "run", *data, "--out", out, *CPU],
            ["evaluate", "run", *data, "--out", out, *CPU],
            ["retrieve", "index", "videos/1.mp4", "--gallery", f"{out}/page.html", *CPU],
            ["data", "pack", "videos.jsonl", "--out", out, "--size", "24"],
            ["data", "scan", "videos", "--out", f"{out}/scanned.jsonl"],
        ]
    )
    started = Started(case, ("-m", "vidssl_cli"), words)
    started.wait_for_handlers()
    time.sleep(case.random.uniform(0, 5))
    if started.process.poll() is not None:
        return {"command": words[0], "late": True}
    started.signal(number)
    seconds = started.ends(LAUNCHER, [STATES[number][1], 0])
    if started.process.returncode:
        _one_line(started, number)
    if (started.out / "CURRENT").exists():
        from vidssl_cli.search.store import open_index

        open_index(started.out)
    return {"command": words[0], "ended": round(seconds, 2)}


def sweep(case: Case, number: signal.Signals) -> Facts:
    """A sweep ends its members, which save; even if it is killed."""
    number = case.random.choice([number, signal.SIGKILL])
    words = ["sweep", "pretrain.yaml", *_place(case), "--seeds", "2"]
    started = Started(case, ("-m", "vidssl_cli"), words)
    runs = [started.out / "pretrain" / seed for seed in "01"]
    started.wait_until(lambda: any(_steps(run) for run in runs))
    time.sleep(case.random.uniform(0, 2))
    started.signal(number)
    if number == signal.SIGKILL:
        started.ends(LAUNCHER, [-number])
    else:
        started.ends(LAUNCHER, [STATES[number][1]])
        _one_line(started, number)
    for folder in runs:
        if (folder / "run.json").exists() and _json(folder / "run.json")["state"] != "preempted":
            raise Broken(f"a member did not save: {(folder.with_suffix('.log')).read_text()}")
    return {"signal": number.name}


def slurm(case: Case, number: signal.Signals) -> Facts:
    """A job under a made-up SLURM is preempted, comes back, and fails: it comes back only once."""
    programs = case.folder / "bin"
    programs.mkdir()
    for name, script in {
        "srun": 'echo $$ > "$SLURM/step"; exec "$@"',
        "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
        "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$SLURM/asked"; fi',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    script = Path(__file__).parents[2] / "docs" / "slurm.sh"
    words = [str(script), str(case.folder / "out"), "pretrain", "pretrain.yaml"]
    job = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "SLURM": str(case.folder),
        "SLURM_JOB_ID": str(case.number),
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "1",
    }
    started = Started(case, (), [*words, "--data", "videos.jsonl", *CPU], "bash", job)
    started.wait_for_steps(case.random.randrange(2, 6))
    os.kill(int((case.folder / "step").read_text()), signal.SIGUSR1)
    started.ends(LAUNCHER, [0])
    _says(started, "preempted")
    again = Started(case, (), [*words, "--data", "nowhere", *CPU], "bash", job)
    again.ends(SUITE.limit / 2, [1])
    asked = (case.folder / "asked").read_text()
    if asked != f"requeue {case.number}\n":
        raise Broken(f"scontrol was asked for {asked!r}:\n{again.text()}")
    return {"signal": "SIGUSR1"}


def _place(case: Case) -> list[str]:
    return ["--data", "videos.jsonl", "--out", str(case.folder / "out"), *CPU]


def _pretrain(case: Case) -> list[str]:
    minutes = case.random.choice(["0", "10"])  # with 0 most of the time goes into saving
    return [
        "pretrain",
        "pretrain.yaml",
        *_place(case),
        "--set",
        f"train.checkpoint_minutes={minutes}",
    ]


def _stopped_in_training(
    started: Started,
    number: signal.Signals,
    *,
    status: int | None = None,
    again: signal.Signals | None = None,
) -> Facts:
    """Send a signal after some steps, at any moment of one."""
    random = started.case.random
    started.wait_for_steps(random.randrange(2, 12))
    time.sleep(random.uniform(0, max(started.step, 0.2)))
    sent = started.signal(number)
    if again is not None:
        time.sleep(random.choice([0, random.uniform(0, 0.2)]))
        if started.process.poll() is None:
            started.signal(again)
    return _ends_well(started, number, sent, status)


def _ends_well(
    started: Started, number: signal.Signals, sent: float, status: int | None = None
) -> Facts:
    """Hold a run that was stopped in training to what was promised."""
    state, alone = STATES.get(number, ("preempted", 0))
    logged = len(_steps(started.out))
    seconds = started.ends(LAUNCHER, [alone if status is None else status])
    if status is None:
        _one_line(started, number)
    _says(started, state)
    saved, step = _on_disk(started, sent)
    if step < logged:
        raise Broken(f"{logged} steps were taken, and {step} are on disk")
    if status is None and step > logged + 1:  # those of torchrun get it later
        raise Broken(f"it took {step - logged} steps more, not only the one that was under way")
    return {"saved": round(saved, 2), "ended": round(seconds, 2), "step": round(started.step, 3)}


def _on_disk(started: Started, sent: float) -> tuple[float, int]:
    """Return the seconds from the signal to the last checkpoint, and its step."""
    from vidssl_cli.files.sealed_folder import verify

    last = started.out / "checkpoints" / "last"
    if not last.exists():
        raise Broken(f"there is no checkpoint:\n{started.text()}")
    verify(last)
    step = _json(last / "state.json")["step"]
    if step != len(_steps(started.out)):
        raise Broken(f"step {step} is on disk, but {len(_steps(started.out))} were logged")
    saved = max(0.0, last.lstat().st_mtime - sent)
    if saved > PROMISED + started.step:
        raise Broken(f"saved {saved:.1f} s after the signal; a step takes {started.step:.2f} s")
    return saved, step


def _says(started: Started, state: str) -> None:
    found = _json(started.out / "run.json")["state"]
    if found != state:
        raise Broken(f"run.json says {found}, not {state}:\n{started.text()}")


def _one_line(started: Started, number: signal.Signals) -> None:
    """Look for one line about the signal, and nothing that frightens."""
    text = started.text()
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    if len(lines) != 1 or not lines[0].startswith(f"error: stopped by {number.name}"):
        raise Broken(f"it did not say so in one line:\n{text}")
    if "Traceback" in text or "Exception" in text:
        raise Broken(f"it said more than it should:\n{text}")


def _nothing_half_written(folder: Path) -> None:
    if left := [str(path) for path in folder.rglob(".tmp-*")]:
        raise Broken(f"left behind: {left}")


def _steps(out: Path) -> list[Any]:
    """Return the rows of steps that are whole."""
    path = out / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [row for row in rows if "loss" in row]


def _json(path: Path) -> Any:
    return json.loads(path.read_text())


def _alive(folder: Path) -> list[psutil.Process]:
    """Return the processes of a case."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder) and (
                process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except psutil.Error:  # gone, or somebody else's
            continue
    return found


def _catches(process: int, number: signal.Signals) -> bool:
    """Tell whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def summary(facts: Sequence[Facts]) -> str:
    """Tell how soon checkpoints were on disk."""
    saved = [fact["saved"] for fact in facts if "saved" in fact]
    if not saved:
        return ""
    return (
        f"{len(saved)} times in training the checkpoint was on disk {statistics.median(saved):.1f} "
        f"s after the signal in the median, {max(saved):.1f} s at most."
    )


SCENES: tuple[Callable[[Case, signal.Signals], Facts], ...] = (
    *(training, torchrun, start, command, validation, torchrun, training),
    *(decoding, twice, agent, worker, sweep, slurm),
)

SUITE = Suite(
    "SIGTERM, SIGUSR1 and Ctrl-C at any moment: a checkpoint within a step and five seconds, the "
    "state and exit status say so, and no process lives on",
    cases=65,
    share=(0,),
    run=run,
    prepare=prepare,
    summary=summary,
)
