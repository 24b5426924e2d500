"""How often a training step makes the host wait for the GPU, and how much it asks of it.

    python benchmarks/host_waits.py [RECIPE …] [--lines 3] [--json FILE] [--budgets]

A wait is a call after which the host stands still until the GPU has done all its work: a number
fetched, a copy from memory that is not pinned, a result whose size depends on its values. A launch
is an operation that computes, and a copy one between host and device. No GPU is needed: a simulated
one counts (tests/simulated_gpu). Each recipe is shrunk to a batch of 4 videos and a narrow network;
waits and copies grow with the batch where they are clip by clip.

For each recipe come the most of any step, and the lines of vidssl that cause the most waits, with
how many a step. `--budgets` makes what is measured the bounds that tests/test_on_gpu.py holds
recipes to (tests/simulated_gpu/budgets.json).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from simulated_gpu.costs import BUDGETS, Cost, beginning, make_videos, measure, train
from simulated_gpu.counts import KINDS, Kind
from vidssl_cli.config.load import names


def measure_all(recipes: list[str]) -> dict[str, Cost]:
    """Measure a step of each recipe."""
    costs = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        data = make_videos(Path(folder))
        sources: dict[str, Path] = {}
        for name in recipes:
            begun = beginning(name)
            if begun and begun not in sources:
                sources[begun] = Path(folder, f"source-{len(sources)}")
                train(begun, data, sources[begun])
            start = ("--from", sources[begun]) if begun else ()
            costs[name] = measure(name, data, Path(folder, name.replace("/", "-")), *start)
    return costs


def figures(cost: Cost) -> dict[str, int]:
    """Return the most of any step, by kind."""
    return {kind: getattr(cost, kind) for kind in KINDS}


def by_line(cost: Cost, kind: Kind) -> dict[str, float]:
    """Return how many a mean step has by line, the most first."""
    found = getattr(cost.lines, kind).most_common()
    return {line: count / cost.steps for line, count in found}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all that ship")
    parser.add_argument("--lines", type=int, default=3, help="lines to show of each recipe")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all lines there")
    parser.add_argument("--budgets", action="store_true", help="make the figures the bounds")
    arguments = parser.parse_args()
    costs = measure_all(arguments.recipes or list(names()))
    print(f"{'a step of 4 videos':46}", *(f"{kind:>8}" for kind in KINDS))
    for name, cost in costs.items():
        print(f"{name:46}", *(f"{count:8}" for count in figures(cost).values()))
        for line, count in list(by_line(cost, "waits").items())[: arguments.lines]:
            print(f"{'':8}{count:6g}  {line}")
    if arguments.json:
        document = {
            name: figures(cost) | {"lines": {kind: by_line(cost, kind) for kind in KINDS}}
            for name, cost in costs.items()
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if arguments.budgets:
        bounds = json.loads(BUDGETS.read_text(encoding="utf-8")) if arguments.recipes else {}
        bounds |= {name: figures(cost) for name, cost in costs.items()}
        BUDGETS.write_text(json.dumps(bounds, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
