"""Kinds of large indexes: bytes, seconds and recall, next to exact search, in one run.

    python benchmarks/large.py [--vectors 1000000] [--features FILE.npy] [--factories Flat16 …]

Vectors are made up unless a file of features (n, D) is given, around which as many are made as are
asked for: a random row, and the difference of two other rows, shrunk. Made-up ones have 2,000
clusters, and a spectrum that falls as features of networks do: the i-th axis has the deviation
i^-0.5, of centres and of what lies around them. Every kind is built, written and searched mapped,
as `vidssl index` and `vidssl retrieve` do; candidates are ranked again from the mapped features.
Seconds are CPU seconds, the least of three rounds, one query at a time and a hundred at once. The
recall is of 10 neighbours of 200 queries that are not in the index.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vidssl_cli.search import engines, factories
from vidssl_cli.search.approximate import faiss_engine, read_faiss, write_faiss
from vidssl_cli.search.columns import Column
from vidssl_cli.search.exact import exact_engine, inverse_lengths
from vidssl_cli.search.levels import Level
from vidssl_cli.search.recall import tune

KINDS = ("Flat", "Flat16", "SQ", "RaBitQ4", "IVF,Flat", "IVF,RaBitQ4", "IVF,PQ64")
DIMENSION, BLOCK, CLUSTERS, SHRUNK = 512, 10_000, 2000, 0.5
NONE = np.empty(0, np.int64)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--features", type=Path)
    parser.add_argument("--factories", nargs="+", default=KINDS)
    parser.add_argument("--cores", type=int, default=1)
    chosen = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: chosen.cores])
    torch.set_num_threads(chosen.cores)
    faiss = engines.require_faiss("all")
    faiss.omp_set_num_threads(chosen.cores)
    make = _around(np.load(chosen.features)) if chosen.features else _made_up()
    with tempfile.TemporaryDirectory() as folder:
        column = _written(Path(folder) / "features.npy", chosen.vectors, make)
        size, dimension = column.shape
        print(
            f"{size:,} x {dimension}, {chosen.features or 'made up'}, {chosen.cores} core(s), "
            f"{platform.machine()}, numpy {np.__version__}, FAISS {faiss.__version__}\n\n"
            "| factory | FAISS's name | bytes a vector | build, s | 1 query, ms | 100 queries, ms "
            "| lists searched | recall@10 |\n|" + " --- |" * 8
        )
        _compare(column, make(np.random.default_rng(10**9), 200), chosen.factories, Path(folder))


def _compare(column: Column, queries: Any, kinds: Any, folder: Path) -> None:
    size, dimension = column.shape
    unscaled = np.stack([np.zeros(dimension), np.ones(dimension)])
    inverse = inverse_lengths(column, unscaled)
    exact = Level(
        column, unscaled, NONE, lambda: exact_engine(column, unscaled, inverse, NONE), "", inverse
    )
    truth = [set(ids.tolist()) for ids, _ in exact.nearest(queries, 10)]
    for kind in kinds:
        level, path, lists, began = exact, folder / "index.faiss", "", time.process_time()
        if kind != factories.EXACT:
            index = factories.build_faiss(factories.UnitVectors(column, unscaled), kind)
            level = _level(column, unscaled, inverse, faiss_engine(index))
            seconds = time.process_time() - began
            tune(index, level, "video")
            write_faiss(index, path)
            index = read_faiss(path, mapped=True)
            level = _level(column, unscaled, inverse, faiss_engine(index))
            inverted = engines.require_faiss(kind).try_extract_index_ivf(index)
            lists = f"{inverted.nprobe} of {inverted.nlist}" if inverted is not None else ""
        else:
            seconds = time.process_time() - began
        found = [set(ids.tolist()) for ids, _ in level.nearest(queries, 10)]
        recall = np.mean([len(a & b) / 10 for a, b in zip(found, truth, strict=True)])
        one = _least(lambda level=level: [level.nearest(queries[n : n + 1], 10) for n in range(5)])
        many = _least(lambda level=level: level.nearest(queries[:100], 10))
        taken = path.stat().st_size if kind != factories.EXACT else 4 * size * dimension
        name = factories.expand_factory(kind, size, dimension)
        print(
            f"| `{kind}` | {name} | {taken / size:.0f} | "
            f"{seconds:.0f} | {200 * one:.1f} | {1000 * many:.0f} | {lists} | {recall:.3f} |",
            flush=True,
        )


def _level(column: Column, scaling: Any, inverse: Any, engine: engines.Engine) -> Level:
    scaled = engines.scaled(engine, scaling)
    return Level(column, scaling, NONE, lambda: scaled, "", inverse)


def _least(way: Callable[[], Any]) -> float:
    times = []
    for _ in range(3):
        began = time.process_time()
        way()
        times.append(time.process_time() - began)
    return min(times)


def _made_up() -> Callable[[np.random.Generator, int], Any]:
    """Return a maker of clusters with a falling spectrum."""
    deviations = np.arange(1, DIMENSION + 1, dtype=np.float32) ** -0.5
    centres = np.random.default_rng(0).standard_normal((CLUSTERS, DIMENSION), np.float32)

    def make(generator: np.random.Generator, count: int) -> Any:
        noise = generator.standard_normal((count, DIMENSION), np.float32)
        return (centres[generator.integers(CLUSTERS, size=count)] + noise) * deviations

    return make


def _around(features: Any) -> Callable[[np.random.Generator, int], Any]:
    """Return a maker of rows like those of features."""

    def make(generator: np.random.Generator, count: int) -> Any:
        row, one, other = generator.integers(len(features), size=(3, count))
        return features[row] + SHRUNK * (features[one] - features[other])

    return make


def _written(path: Path, size: int, make: Callable[[np.random.Generator, int], Any]) -> Column:
    """Write features to a file and map it, as an index does."""
    dimension = make(np.random.default_rng(0), 1).shape[1]
    file = np.lib.format.open_memmap(path, "w+", np.float32, (size, dimension))
    for first in range(0, size, BLOCK):
        count = min(BLOCK, size - first)
        file[first : first + count] = make(np.random.default_rng(first), count)
    file.flush()
    return Column([np.load(path, "r")])


if __name__ == "__main__":
    main()
