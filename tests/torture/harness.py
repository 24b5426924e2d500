"""Cases by number: how they are run, kept, resumed and reported."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import random
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from vidssl_cli.files.sealed_folder import sha256

Facts = Mapping[str, Any]
"""What a case measured, for the report: anything that JSON can hold."""


class Broken(AssertionError):
    """A promise was broken; the message says which, and what was found instead."""


@dataclass(frozen=True)
class Case:
    """One attempt to break a promise; all that is random in it follows from seed and number."""

    suite: str
    number: int
    seed: int
    shared: Path
    """What the suite prepared for all of its cases; never written to."""
    folder: Path
    """The case's own, empty at the start; kept where the case fails."""

    @cached_property
    def random(self) -> random.Random:
        """Draws that are this case's own."""
        address = f"{self.seed}/{self.suite}/{self.number}".encode()
        return random.Random(hashlib.sha256(address).digest())


def _nothing(shared: Path) -> None:
    """Prepare nothing."""


def _no_summary(facts: Sequence[Facts]) -> str:
    return ""


@dataclass(frozen=True)
class Suite:
    """One promise, and how often and in what ways it is tried."""

    promise: str
    """What holds in every case, one sentence."""
    cases: int
    """How many make up the full figure."""
    share: Sequence[int]
    """Numbers of the few that `make test` runs: quick ones, and one of each kind."""
    run: Callable[[Case], Facts]
    """Carry out a case; raises `Broken`, or anything else, where the promise does not hold."""
    prepare: Callable[[Path], None] = _nothing
    """Fill an empty folder with what the cases share."""
    summary: Callable[[Sequence[Facts]], str] = _no_summary
    """Put the figures of all cases that held into a sentence or two of Markdown."""
    limit: float = 300
    """Seconds after which a case counts as hung."""
    jobs: int | None = None
    """Cases at a time at most, where they disturb each other."""


@dataclass(frozen=True)
class Result:
    """What came of a case."""

    number: int
    held: bool
    seconds: float
    facts: Facts = field(default_factory=dict)
    reason: str = ""
    """What was found where the promise did not hold."""


def suites() -> dict[str, Suite]:
    """Return the suites of this package by name."""
    package = importlib.import_module(__package__)
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            suite = getattr(importlib.import_module(f"torture.{module.name}"), "SUITE", None)
            if isinstance(suite, Suite):
                found[module.name] = suite
    return found


def load(name: str) -> Suite:
    """Return a suite by name, or by the dotted name of a module elsewhere."""
    suite: Suite = importlib.import_module(name if "." in name else f"torture.{name}").SUITE
    return suite


def code() -> str:
    """Return a digest of vidssl and the suites: what held for other code says nothing of this."""
    digest = hashlib.sha256()
    for package in ("vidssl_cli", "vidssl_plugins", "torture"):
        folder = resources.files(package)
        assert isinstance(folder, Path)
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{path.relative_to(folder)} {sha256(path)}".encode())
    return digest.hexdigest()[:12]


def attempt(name: str, number: int, seed: int, shared: Path, folder: Path) -> Result:
    """Run one case in this process; its folder goes if the promise held."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    facts: Facts = {}
    reason = ""
    try:
        facts = load(name).run(Case(name, number, seed, shared, folder))
    except Broken as broken:
        reason = str(broken) or "broken"
    except Exception:
        reason = traceback.format_exc()
    if not reason:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(number, not reason, round(time.monotonic() - began, 3), facts, reason)


def prepared(name: str, out: Path) -> Path:
    """Return the folder that the cases of a suite share, filled."""
    shared = out / f"{name}-shared"
    done = out / f"{name}-shared.done"
    if not done.exists():
        shutil.rmtree(shared, ignore_errors=True)
        shared.mkdir(parents=True)
        load(name).prepare(shared)
        done.touch()
    return shared


def carry_out(
    name: str, numbers: Iterable[int], seed: int, out: Path, jobs: int
) -> Iterator[Result]:
    """Run cases in processes of their own, and yield what came of each as it is known.

    A case that ends its process, or that runs longer than the suite allows, did not hold.
    """
    suite, shared = load(name), prepared(name, out)
    pool = ProcessPool(
        max_workers=min(jobs, suite.jobs or jobs),
        context=multiprocessing.get_context("spawn"),
        initializer=_speak_into,
        initargs=[out / f"{name}.log"],
    )
    with pool:
        waiting = {}
        for number in numbers:
            folder = out / f"{name}-{number}"
            arguments = [name, number, seed, shared, folder]
            waiting[pool.schedule(attempt, args=arguments, timeout=suite.limit)] = number
        try:
            for future in as_completed(waiting):
                number = waiting[future]
                try:
                    yield future.result()
                except TimeoutError:
                    yield Result(number, False, suite.limit, reason=f"hung: {suite.limit:g} s")
                except ProcessExpired as error:
                    reason = f"the process ended: exit status {error.exitcode}"
                    yield Result(number, False, 0.0, reason=reason)
        except BaseException:
            pool.stop()
            raise


def _speak_into(log: Path) -> None:
    """Send what cases and their children print to a file."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())


class Ledger:
    """The results of a suite on disk, a line each, so that a run goes on where it was stopped."""

    def __init__(self, out: Path, name: str, seed: int) -> None:
        self.path = out / f"{name}-seed-{seed}.jsonl"

    def read(self) -> dict[int, Result]:
        """Return the last result of each case by its number."""
        if not self.path.exists():
            return {}
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # a line that was cut short, so that the next one starts afresh
            self.path.write_bytes(whole)
        results = [Result(**json.loads(line)) for line in whole.splitlines()]
        last = {result.number: result for result in results}
        return dict(sorted(last.items()))

    def add(self, result: Result) -> None:
        """Keep a result."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
