"""How fast exact search is, next to both ways of FAISS, in one run.

    python benchmarks/exact_search.py [--vectors 200000] [--dimension 512] [--rounds 7]

FAISS compares few queries one by one, each with all threads, and many by a matrix product; which
way it takes depends on a threshold, which is set here so that both are measured. vidssl scans
shares of the gallery, one for each core, without a copy of it. Ways take turns, round after round;
a ratio is seconds of vidssl by seconds of the faster way of FAISS, both the best of their rounds.
On one core they are CPU seconds, which other programs disturb less; on several, of the clock.
With `--busy` another program keeps one core busy meanwhile.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from vidssl_cli.search.columns import Column
from vidssl_cli.search.exact import exact_engine, inverse_lengths

NEIGHBOURS = 56
"""What a search for ten asks for."""
QUERIES = (1, 2, 4, 8, 20, 50, 100, 200, 1000)
BY_MATRIX, ONE_BY_ONE = 1, 2_000_000_000
"""Thresholds that make FAISS take a way."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--vectors", type=int, default=200_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--busy", action="store_true", help="keep a core busy meanwhile")
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: chosen.cores]
    os.sched_setaffinity(0, cores)
    faiss.omp_set_num_threads(len(cores))
    if chosen.busy:
        multiprocessing.get_context("fork").Process(target=_spin, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        vectors = _vectors(Path(folder) / "vectors.npy", chosen.vectors, chosen.dimension)
        _compare(vectors, chosen.rounds)


def _compare(vectors: np.ndarray[Any, np.dtype[np.float32]], rounds: int) -> None:
    size, dimension = vectors.shape
    index = faiss.IndexFlatIP(dimension)
    index.add(np.asarray(vectors))
    unscaled = np.stack([np.zeros(dimension), np.ones(dimension)])
    column = Column([vectors])
    ours = exact_engine(column, unscaled, inverse_lengths(column, unscaled), np.empty(0, np.int64))
    ways: dict[str, Callable[[Any], Any]] = {
        "vidssl": lambda queries: ours(queries, NEIGHBOURS),
        "FAISS one by one": lambda queries: _faiss(index, queries, ONE_BY_ONE),
        "FAISS by matrix": lambda queries: _faiss(index, queries, BY_MATRIX),
    }
    cores = len(os.sched_getaffinity(0))
    clock = time.process_time if cores == 1 else time.perf_counter
    print(f"{size:,} x {dimension}, {cores} cores, milliseconds\n")
    print(f"| queries | {' | '.join(ways)} | ratio |")
    print("| --- |" + " --- |" * (len(ways) + 1))
    for count in QUERIES:
        queries = np.random.default_rng(count).standard_normal((count, dimension), np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        best = dict.fromkeys(ways, float("inf"))
        for turn in range(rounds):
            for name, way in ways.items():
                if best[name] > 4 * min(best.values()) and turn:  # it will not be the faster
                    continue
                began = clock()
                way(queries)
                best[name] = min(best[name], clock() - began)
        ratio = best["vidssl"] / min(best["FAISS one by one"], best["FAISS by matrix"])
        cells = " | ".join(f"{1000 * seconds:.1f}" for seconds in best.values())
        print(f"| {count} | {cells} | {ratio:.2f} |", flush=True)


def _faiss(index: Any, queries: Any, threshold: int) -> None:
    faiss.cvar.distance_compute_blas_threshold = threshold
    index.search(queries, NEIGHBOURS)


def _vectors(path: Path, size: int, dimension: int) -> Any:
    """Write unit vectors to a file and map it, as an index does."""
    made = np.lib.format.open_memmap(path, "w+", np.float32, (size, dimension))
    generator = np.random.default_rng(0)
    for first in range(0, size, 10_000):
        rows = generator.standard_normal((min(10_000, size - first), dimension), np.float32)
        made[first : first + len(rows)] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    made.flush()
    return np.load(path, "r")


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
