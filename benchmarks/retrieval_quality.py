"""What strides joined, taps joined and re-ranking do for retrieval.

    python benchmarks/retrieval_quality.py --data DATA --out DIR [--recipe small/instance] \
        [--seeds 3] [--set input.crop=48] [--clips 6400]

Trains the recipe with each seed, unless that is done, and ranks the training videos for each test
video: mean of the recipe's clips, standardised, cosine. Printed are top-1 and mAP in percent, mean
and standard error over the seeds, of

- clips of strides 2, of 4, and of both with their features joined;
- pool4, pool5, and both joined after standardising, each scaled to length 1;
- k-reciprocal re-ranking (Zhong et al. 2017, CVPR, "Re-ranking Person Re-identification with
  k-reciprocal Encoding"; lambda 0.3) of the recipe's ranking, with k1 and k2 of the paper, 20 and
  6, and smaller ones. Queries are compared with the gallery alone, and with each other, as in the
  paper's code.

Letters: N items, D features.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidssl_cli.base.console import emit_table
from vidssl_cli.cli.sweep_plan import budget
from vidssl_cli.config.load import load_as
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.metrics import average_precision, standardise, unit
from vidssl_cli.contract.study import ClipSet, Layer
from vidssl_cli.data.manifest import training_part
from vidssl_cli.data.scan import open_data
from vidssl_cli.evaluation.study import EncoderStudy
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session

Floats = NDArray[np.floating[Any]]

LAMBDA = 0.3
NEIGHBOURS = ((20, 6), (10, 3), (5, 2))
"""k1 and k2."""


def reranked(vectors: Floats, queries: int, k1: int, k2: int, *, alone: bool) -> Floats:
    """Return distances (queries, N - queries) after k-reciprocal re-ranking.

    Args:
        vectors: (N, D) of length 1, queries first.
        queries: How many there are.
        k1: Neighbours that may be reciprocal.
        k2: Neighbours over which encodings are averaged.
        alone: Re-rank each query with the gallery, as if there were no others.
    """
    if alone and queries > 1:
        gallery = vectors[queries:]
        one = (np.concatenate([vectors[n, None], gallery]) for n in range(queries))
        return np.concatenate([reranked(each, 1, k1, k2, alone=True) for each in one])
    distance = np.maximum(2 - 2 * vectors @ vectors.T, 0)
    original = (distance / distance.max(1, keepdims=True)).astype(np.float64)
    ranks = np.argsort(original, 1, kind="stable")
    count = len(vectors)

    def reciprocal(item: int, k: int) -> NDArray[np.int64]:
        near = ranks[item, : k + 1]
        return near[(ranks[near, : k + 1] == item).any(1)]

    encoded = np.zeros((count, count))
    for item in range(count):
        core = reciprocal(item, k1)
        expanded = core
        for candidate in core:
            others = reciprocal(int(candidate), round(k1 / 2))
            if np.isin(others, core).sum() > 2 / 3 * len(others):
                expanded = np.union1d(expanded, others)
        weights = np.exp(-original[item, expanded])
        encoded[item, expanded] = weights / weights.sum()
    if k2 > 1:
        encoded = np.stack([encoded[ranks[item, :k2]].mean(0) for item in range(count)])
    shared = np.stack([np.minimum(encoded[n], encoded).sum(1) for n in range(queries)])
    jaccard = 1 - shared / (2 - shared)
    mixed: Floats = (1 - LAMBDA) * jaccard + LAMBDA * original[:queries]
    return mixed[:, queries:]


def scored(distances: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Return top-1 and mAP of distances (queries, N), given which of (queries, N) are right."""
    order = np.argsort(distances, 1, kind="stable")
    ranked = np.take_along_axis(right, order, 1)
    return float(ranked[:, 0].mean()), float(average_precision(ranked).mean())


def measured(encoder: Encoder, study: EncoderStudy) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield the name of each way to rank, with top-1 and mAP."""
    videos, count = [*study.test, *study.train], len(study.test)
    labels = np.array([video.label for video in videos])
    right = labels[:count, None] == labels[count:]
    found = {}
    for strides in (2, 4, (2, 4)):
        windows = Windows(clips=encoder.evaluation.clips, stride=strides)
        sets = [ClipSet(v, windows.of(study.count(v), study.frames)) for v in videos]
        layers = study.features("run", sets, [Layer("pool4"), Layer("pool5")])
        for tap, clips in zip(("pool4", "pool5"), layers, strict=True):
            means = np.stack([each.mean(0) for each in clips])
            found[tap, strides] = unit(standardise(means, means[count:]))
    joined = unit(np.concatenate([found["pool4", 2], found["pool5", 2]], 1))
    plain = found["pool5", 2]
    vectors = {
        "pool5, stride 2": plain,
        "pool5, stride 4": found["pool5", 4],
        "pool5, strides 2 and 4 joined": found["pool5", (2, 4)],
        "pool4, stride 2": found["pool4", 2],
        "pool4 and pool5 joined, stride 2": joined,
    }
    for name, each in vectors.items():
        yield name, scored(-each[:count] @ each[count:].T, right)
    for k1, k2 in NEIGHBOURS:
        for alone in (True, False):
            text = "gallery alone" if alone else "with the other queries"
            distances = reranked(plain, count, k1, k2, alone=alone)
            yield f"re-ranked, k1 {k1}, k2 {k2}, {text}", scored(distances, right)


def member(arguments: argparse.Namespace, seed: int) -> dict[str, tuple[float, float]]:
    """Train with one seed, unless that is done, and measure."""
    folder = Path(arguments.out, arguments.recipe.replace("/", "-"), str(seed))
    if (result := folder / "quality.json").is_file():
        known: dict[str, tuple[float, float]] = json.loads(result.read_text(encoding="utf-8"))
        return known
    videos, broken = open_data(arguments.data)
    train, overrides = training_part(videos), [*arguments.overrides, f"train.seed={seed}"]
    loaded = load_as(PretrainRecipe, arguments.recipe, overrides)
    if arguments.clips:
        overrides += budget(loaded, train, arguments.clips)
        loaded = load_as(PretrainRecipe, arguments.recipe, overrides)
    pretrain(loaded, train, Session(folder, resume=True), broken)
    encoder = Encoder.load(folder)
    study = EncoderStudy(encoder, videos, run=folder, store=Path(arguments.out, "features"))
    found = dict(measured(encoder, study))
    result.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def text(values: Floats) -> str:
    """Return mean and standard error in percent."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{100 * values.mean():.1f} ± {100 * error:.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--recipe", default="small/instance")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, help="clips to train on")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    arguments = parser.parse_args()
    results = [member(arguments, seed) for seed in range(arguments.seeds)]
    plain = np.array([next(iter(result.values())) for result in results])
    rows: list[list[object]] = []
    for name in results[0]:
        values = np.array([result[name] for result in results])
        gain = values - plain
        rows.append([name, *(text(each) for each in (*values.T, *gain.T))])
    emit_table(arguments.recipe, ["ranking", "top-1", "mAP", "top-1, gain", "mAP, gain"], rows)


if __name__ == "__main__":
    main()
