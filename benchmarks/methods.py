"""Every method side by side: its own task, retrieval and a linear probe, over several seeds.

    python benchmarks/methods.py --data DATA --out DIR small/pace small/temporal-transforms … \
        [--seeds 3] [--jobs 2] [--clips 6400] [--set input.crop=48] [--json]

For each recipe and seed this runs `vidssl pretrain RECIPE --data DATA --set train.seed=SEED` and
measures the run on the test split: its own tasks, retrieval (top-1, mean of a video's clips,
standardised) and a linear probe at two taps, each compared with random weights. A few dozen test
videos cannot tell methods apart that differ by five points: so retrieval is measured over all
videos, too, each looked up among those of other recordings, which the manifest's `group` tells.
Members run as processes of their own, `--jobs` at a time; one that is done is not done again, one
that was interrupted is resumed. The table gives means over the seeds with standard errors, and the
CPU seconds of training.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does

import numpy as np

from vidssl_cli.base.console import emit_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vidssl_cli.contract.videos import Video

TAPS = ("pool4", "pool5")
RESULT = "result.json"


def member(arguments: argparse.Namespace, recipe: str, seed: int) -> dict[str, Any]:
    """Train one recipe with one seed, unless that is done, and measure it."""
    from vidssl_cli.cli.sweep_plan import budget
    from vidssl_cli.config.load import load_as
    from vidssl_cli.config.recipe import PretrainRecipe
    from vidssl_cli.contract.clips import Windows
    from vidssl_cli.contract.study import ClipSet, Layer
    from vidssl_cli.data.manifest import training_part
    from vidssl_cli.data.scan import open_data
    from vidssl_cli.evaluation.study import EncoderStudy
    from vidssl_cli.model.encoder import Encoder
    from vidssl_cli.training.pretrain import pretrain
    from vidssl_cli.training.session import Session
    from vidssl_plugins.evaluators.hooks import Linear, Retrieval

    folder = Path(arguments.out, recipe.replace("/", "-"), str(seed))
    videos, broken = open_data(arguments.data)
    train, overrides = training_part(videos), [*arguments.overrides, f"train.seed={seed}"]
    loaded = load_as(PretrainRecipe, recipe, overrides)
    if arguments.clips:
        overrides += budget(loaded, train, arguments.clips)
        loaded = load_as(PretrainRecipe, recipe, overrides)
    began = time.process_time()
    pretrain(loaded, train, Session(folder, resume=True), broken)
    seconds = time.process_time() - began
    encoder, store = Encoder.load(folder), Path(arguments.out, "features")
    taps = [tap for tap in TAPS if tap in encoder.taps]  # a transformer has no pool4
    study, card = EncoderStudy(encoder, videos, run=folder, store=store), encoder.evaluation
    windows = Windows(clips=card.clips, stride=card.stride)
    looks = [
        ClipSet(video, windows.of(study.count(video), study.frames))
        for video in (*study.train, *study.test)
    ]
    features = {  # all taps in one pass
        weights: study.features(weights, looks, [Layer(tap) for tap in taps])
        for weights in study.weights
    }
    found: dict[str, Any] = {"recipe": recipe, "seed": seed, "seconds": round(seconds)}
    found |= {weights: dict(study.pretext_scores(weights).values) for weights in study.weights}
    for number, tap in enumerate(taps):
        for weights, layers in features.items():
            vectors = np.stack([clips.mean(0) for clips in layers[number]])
            found[weights][f"elsewhere {tap}"] = elsewhere(vectors, [look.video for look in looks])
        options = {
            "retrieval": Retrieval(name="retrieval", tap=tap, standardise=True, topk=[1]),
            "linear": Linear(name="linear", tap=tap),
        }
        for name, protocol in options.items():
            report = protocol.build()(study)
            for row in report.rows:
                figure = row["top1" if name == "retrieval" else "accuracy"]
                found[row["weights"]][f"{name} {tap}"] = figure
    folder.joinpath(RESULT).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def elsewhere(vectors: NDArray[np.float32], videos: Sequence[Video]) -> float:
    """Return for how many videos the nearest of another recording is of their class.

    Args:
        vectors: (N, D), one of each video; standardised here by all of them.
        videos: N; one without a group is a recording of its own. A class of one recording has
            nothing to find, and is left out.
    """
    from vidssl_cli.contract.metrics import standardise, unit

    labels = np.array([str(video.label) for video in videos])
    recordings = np.array([video.group or video.path for video in videos])
    same = recordings[:, None] == recordings
    alike = (labels[:, None] == labels) & ~same
    compared = unit(standardise(vectors, vectors))
    nearest = np.where(same, -np.inf, compared @ compared.T).argmax(1)
    hits = alike[np.arange(len(videos)), nearest]
    return float(hits[alike.any(1)].mean())


def start(arguments: argparse.Namespace, recipe: str, seed: int) -> dict[str, Any] | None:
    """Return a member's figures, from a process of its own unless they are there already."""
    folder = Path(arguments.out, recipe.replace("/", "-"), str(seed))
    if not (folder / RESULT).is_file():
        threads = max(1, (os.cpu_count() or 1) // arguments.jobs)
        command = [sys.executable, __file__, recipe, "--data", arguments.data]
        command += ["--out", arguments.out, "--member", str(seed)]
        command += [f"--set={override}" for override in arguments.overrides]
        command += ["--clips", str(arguments.clips)] if arguments.clips else []
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".log").open("w", encoding="utf-8") as log:
            environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
            status = subprocess.run(command, env=environment, stdout=log, stderr=log).returncode
        if status:
            print(f"{recipe}, seed {seed}: exit {status}; see {log.name}", file=sys.stderr)
            return None
    found: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    return found


def mean_text(values: Sequence[float]) -> str:
    """Return mean and standard error in percent."""
    mean = 100 * np.mean(values)
    if len(values) < 2:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {100 * np.std(values, ddof=1) / np.sqrt(len(values)):.1f}"


def table(results: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Return the columns, and a row for every recipe and every tap of it, run over random."""
    columns = ["method", "own task", "tap"]
    columns += ["top-1", "random", "elsewhere", "random", "linear", "random", "seconds"]
    rows: list[list[object]] = []
    for recipe in dict.fromkeys(result["recipe"] for result in results):
        mine = [result for result in results if result["recipe"] == recipe]
        own = [
            f"{name} {mean_text([r['run'][name] for r in mine])}"
            f" ({mean_text([r['random'][name] for r in mine])})"
            for name in mine[0]["run"]
            if name.endswith(("accuracy", "explained"))
        ]
        taps = [tap for tap in TAPS if f"retrieval {tap}" in mine[0]["run"]]
        for tap in taps:
            figures = [
                mean_text([result[weights][f"{protocol} {tap}"] for result in mine])
                for protocol in ("retrieval", "elsewhere", "linear")
                for weights in ("run", "random")
            ]
            seconds = round(float(np.mean([result["seconds"] for result in mine])))
            first = tap == taps[0]
            rows.append(
                [recipe if first else "", "; ".join(own) if first else "", tap, *figures, seconds]
            )
    return columns, rows


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", help="names or files of recipes for pre-training")
    parser.add_argument("--data", required=True, help="any DATA with labels and splits")
    parser.add_argument("--out", required=True, help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, help="train each on about so many, not for its epochs")
    parser.add_argument("--jobs", type=int, default=1, help="members at a time")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="of recipes")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--member", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.member is not None:
        member(arguments, arguments.recipes[0], arguments.member)
        return
    members = [(recipe, seed) for seed in range(arguments.seeds) for recipe in arguments.recipes]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = list(pool.map(lambda pair: start(arguments, *pair), members))
    done = [result for result in results if result is not None]
    if arguments.json:
        print(json.dumps(done, indent=2))
    elif done:
        emit_table("percent, mean ± standard error over seeds (random weights)", *table(done))
    if len(done) < len(results):
        sys.exit(1)


if __name__ == "__main__":
    main()
