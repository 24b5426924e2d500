"""How much of its time training waits for data: a whole run against the model alone.

    python benchmarks/end_to_end.py RECIPE --data DATA [--steps 12] [--rounds 3] [--json]

In turns, the recipe's model takes steps on random tensors, and steps on batches of DATA. The share
of time waiting is what the training loop spends waiting for a batch, augmentation on the CPU
included. The whole run is slowed down by more than that where decoding and the model share cores.
Batches that were decoded before the time starts are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from itertools import islice
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as the command line does

import numpy as np
import torch

from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import Batch
from vidssl_cli.data.frame_rate import build_sampler
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_cli.data.scan import open_data
from vidssl_cli.data.views import PREFETCH
from vidssl_cli.model.devices import choose_device, place, prepare_arithmetic
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.processes import open_world
from vidssl_cli.training.session import select_usable
from vidssl_cli.training.step import Stepper, choose_precision

AHEAD = PREFETCH + 1
"""Batches that are decoded or augmented ahead of the one in use."""


def fail(error: Exception) -> None:
    """Stop at the first video that cannot be read."""
    raise error


def alone(step: Stepper, batch: Batch, steps: int) -> float:
    """Return the seconds of steps on random tensors of a batch's shape."""
    random = replace(batch, clips=torch.randn_like(batch.clips))
    begun = time.perf_counter()
    for number in range(steps):
        step(random, number)
    return time.perf_counter() - begun


def whole(step: Stepper, loader: Loader, steps: int) -> tuple[float, float]:
    """Return the seconds of steps on real batches, and the seconds spent waiting for these."""
    waited = 0.0
    batches = loader.epoch(0)
    for number, batch in enumerate(islice(batches, AHEAD)):  # use up what is decoded ahead
        step(batch, number)
    begun = time.perf_counter()
    for number in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        step(batch, number)
    seconds = time.perf_counter() - begun
    batches.close()
    return seconds, waited


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Build what `vidssl pretrain` builds, and time it."""
    updates = {} if arguments.batch_videos is None else {"batch_videos": arguments.batch_videos}
    recipe = load(arguments.recipe)
    assert isinstance(recipe, PretrainRecipe), "give a recipe for `vidssl pretrain`"
    settings = recipe.train.model_copy(update=updates)
    sampler = build_sampler(recipe.sampler, recipe.input)
    videos, _ = select_usable(open_data(arguments.data)[0], sampler)
    needed = (arguments.steps + AHEAD) * settings.batch_videos
    with open_world(str(choose_device(arguments.device))) as world:
        order = Order(
            videos,
            sampler,
            seed=0,
            batch_videos=settings.batch_videos,
            repeats=-(-needed // len(videos)),
        )
        pipeline = Pipeline(recipe.input, recipe.augment, device=world.device)
        loader = Loader(order, pipeline, workers=arguments.workers, on_skip=fail)
        learner = PretrainLearner(recipe, len(videos))
        prepare_arithmetic(world.device, deterministic=settings.deterministic)
        place(learner, world.device)
        optimizer = build_optimizer(learner, settings.optimizer)
        precision = choose_precision(learner, loader, settings, world)
        step = Stepper(learner, optimizer, settings, loader.steps, world, precision)
        batch = next(iter(loader.epoch(0)))
        alone(step, batch, 2)  # warms up
        rounds = [
            (alone(step, batch, arguments.steps), *whole(step, loader, arguments.steps))
            for _ in range(arguments.rounds)
        ]
    clips = arguments.steps * batch.clips.shape[:2].numel()
    return summary(np.array(rounds), clips) | {
        "precision": precision,
        "clips": list(batch.clips.shape),
        "loader_offers": round(loader.capacity(), 1),
    }


def summary(rounds: np.ndarray[Any, np.dtype[np.float64]], clips: int) -> dict[str, Any]:
    """Return medians and ranges of rounds (R, 3): seconds alone, of the whole, of waiting."""
    model, total, waited = rounds.T
    columns = {
        "model_clips_per_second": clips / model,
        "whole_clips_per_second": clips / total,
        "share_waiting": waited / total,
        "whole_over_model": model / total,
    }
    found: dict[str, Any] = {k: round(float(np.median(v)), 4) for k, v in columns.items()}
    found["range"] = {
        k: [round(float(v.min()), 4), round(float(v.max()), 4)] for k, v in columns.items()
    }
    return found


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", help="name or file of a recipe for pre-training")
    parser.add_argument("--data", required=True, help="any DATA of vidssl")
    parser.add_argument("--batch-videos", type=int, help="instead of the recipe's")
    parser.add_argument("--steps", type=int, default=12, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, help="decoding threads; one per core if not given")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    found = measure(arguments)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    spread = found.pop("range")
    for name, value in found.items():
        low, high = spread.get(name, ("", ""))
        print(f"{name:24}{value!s:>24}" + (f"   ({low} to {high})" if name in spread else ""))


if __name__ == "__main__":
    main()
