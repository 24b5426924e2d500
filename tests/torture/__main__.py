"""Torture vidssl: `make torture`, or one suite, or one case of it again.

    make torture                                    everything, the full figures
    make torture ARGS="kill media --cases 20"       the first cases of two suites
    make torture ARGS="kill --case 17 --seed 0"     one case again; its folder is kept

Results are kept in --out as they come, so that a run that was stopped goes on where it was; cases
that did not hold are tried again, and all of them once the code is another. `report.md` there says
what held, with machine and versions.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from torture.harness import Ledger, Result, Suite, attempt, carry_out, code, prepared, suites


def main() -> int:
    known = suites()
    parser = argparse.ArgumentParser(
        prog="torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(known))
    parser.add_argument("--seed", type=int, default=0, help="of all draws; 0 by default")
    parser.add_argument("--cases", type=int, help="only the first ones of each suite")
    parser.add_argument("--case", type=int, help="only this one, in this process")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="cases at a time")
    parser.add_argument("--out", type=Path, default=Path("torture"), help="a folder")
    arguments = parser.parse_args()
    if unknown := set(arguments.suites) - known.keys():
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = arguments.suites or list(known)
    out = arguments.out.resolve() / code()
    out.mkdir(parents=True, exist_ok=True)
    if arguments.case is not None:
        if len(names) != 1:
            parser.error("--case needs exactly one suite")
        return _one(names[0], arguments.case, arguments.seed, out)
    for name in names:
        count = min(arguments.cases or sys.maxsize, known[name].cases)
        _suite(name, count, arguments.seed, out, arguments.jobs)
    found = {name: Ledger(out, name, arguments.seed).read() for name in known}
    report = render(known, found, arguments.seed)
    (arguments.out / "report.md").write_text(report)
    print(report)
    return int(any(not result.held for results in found.values() for result in results.values()))


def _one(name: str, number: int, seed: int, out: Path) -> int:
    result = attempt(name, number, seed, prepared(name, out), out / f"{name}-{number}")
    print(result.reason or f"{name} {number} held: {dict(result.facts)}")
    return int(not result.held)


def _suite(name: str, count: int, seed: int, out: Path, jobs: int) -> None:
    ledger = Ledger(out, name, seed)
    done = {number for number, result in ledger.read().items() if result.held}
    left = [number for number in range(count) if number not in done]
    print(f"{name}: {len(left)} of {count} cases to do, seed {seed}", file=sys.stderr)
    began = told = time.monotonic()
    for position, result in enumerate(carry_out(name, left, seed, out, jobs), 1):
        ledger.add(result)
        if not result.held:
            print(f"{name} {result.number}: {result.reason}", file=sys.stderr)
        now = time.monotonic()
        if now - told >= 10 or position == len(left):
            told = now
            print(f"{name}: {position} of {len(left)}, {now - began:.0f} s", file=sys.stderr)


def render(known: dict[str, Suite], found: dict[str, dict[int, Result]], seed: int) -> str:
    """Put everything that is known about a seed into a page of Markdown."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    versions = ", ".join(f"{name} {version(name)}" for name in ("vidssl", "torch", "av"))
    lines = [
        "# Torture",
        "",
        f"Code {code()}; seed {seed}; {machine}; Python {platform.python_version()}, {versions}; "
        f"{time.strftime('%Y-%m-%d')}.",
        "",
        "| suite | promise | cases | held | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    told: list[str] = []
    for name, suite in known.items():
        results = list(found[name].values())
        held = [result for result in results if result.held]
        seconds = sum(result.seconds for result in results)
        lines.append(
            f"| {name} | {suite.promise} | {len(results)} of {suite.cases} | {len(held)} "
            f"| {seconds:.0f} |"
        )
        told += _details(name, suite, results, seed)
    return "\n".join([*lines, *told]) + "\n"


def _details(name: str, suite: Suite, results: Sequence[Result], seed: int) -> list[str]:
    """Tell a suite's figures, and how to see again what did not hold."""
    told = []
    if (held := [result.facts for result in results if result.held]) and (
        summary := suite.summary(held)
    ):
        told += ["", f"**{name}**: {summary}"]
    for result in results:
        if not result.held:
            again = f'make torture ARGS="{name} --case {result.number} --seed {seed}"'
            told += ["", f"**{name} {result.number} did not hold**; again: `{again}`", ""]
            told += [f"    {line}" for line in result.reason.splitlines()]
    return told


if __name__ == "__main__":
    sys.exit(main())
