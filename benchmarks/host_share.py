"""The host's share of a training step on one large GPU, by arithmetic: no GPU is needed.

    python benchmarks/host_share.py RECIPE … [--set KEY=VALUE] [--processes 1] [--json]

What the GPU takes: the recipe's network runs forward and backward at its own size on torch's
``meta`` device, in bf16. Every kernel takes the time of its arithmetic or of its bytes, whichever
is longer, and never less than the shortest kernel does. What the host takes: every launch of a
step, as `benchmarks/host_waits.py` counts them, those of augmentation included, and a while for
each wait, after which the GPU has nothing to do until the next launch. Planning is timed here, for
the part of a batch that one process gets; it has a thread of its own.

The host's share is what a step takes beyond the GPU's work; planning's is of the whole step.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from simulated_gpu.costs import beginning, make_videos, measure
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import build_sampler

FLOPS = 0.4 * 790e12
"""Of bf16 that convolutions reach on an H100: 40 % of what its matrix products do."""
BYTES = 0.7 * 3.35e12
"""A second that its memory delivers."""
KERNEL = 3e-6
"""Seconds of the shortest kernel."""
LAUNCH = 8e-6
"""Seconds of the host for a launch, Python and autograd included."""
WAIT = 50e-6
"""Seconds from the end of the GPU's work until it has new work, after a wait."""


class Clock(TorchDispatchMode):
    """Adds up what kernels would take on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not func.is_view and "empty" not in func.name():
            tensors = [
                x
                for x in torch.utils._pytree.tree_leaves((args, kwargs, out))
                if isinstance(x, torch.Tensor)
            ]
            counted = flop_registry.get(func.overloadpacket)
            flops = counted(*args, **kwargs, out_val=out) if counted else 0
            moved = sum(x.numel() * x.element_size() for x in tensors)
            self.seconds += max(KERNEL, flops / FLOPS, moved / BYTES)
        return out


def gpu_seconds(recipe: PretrainRecipe, clips: int, frames: int) -> float:
    """Return what the GPU takes for a step of so many clips."""
    side = recipe.input.crop
    with torch.device("meta"):
        network: Any = recipe.backbone.build()
        pictures = torch.empty(clips // recipe.train.accumulate, 3, frames, side, side)
    with Clock() as clock:
        # bf16 throughout instead of autocast, which is not for this device.
        network.to(torch.bfloat16)(pictures.to(torch.bfloat16))["feat"].sum().backward()
    return clock.seconds * recipe.train.accumulate


def planning_seconds(recipe: PretrainRecipe, processes: int) -> float:
    """Return what one of several processes takes to plan its part of a batch."""
    size = recipe.train.batch_videos
    sampler = build_sampler(recipe.sampler, recipe.input)
    videos = [Video(f"{number}.mp4", frames=300, fps=25.0) for number in range(size)]
    part, taken = slice(0, size // processes), []
    for epoch in range(5):
        draws = [Draw(0, epoch, number) for number in range(size)]
        begun = time.thread_time()  # whatever else the machine does
        sampler.plan_part(videos, draws, part)
        taken.append(time.thread_time() - begun)
    return min(taken)


def share(name: str, changes: list[str], processes: int, folder: Path) -> dict[str, float]:
    """Return the figures of a recipe, seconds and shares."""
    recipe = load(name, changes)
    assert isinstance(recipe, PretrainRecipe), "give a recipe for `vidssl pretrain`"
    assert beginning(name) is None
    sampler = build_sampler(recipe.sampler, recipe.input)
    clips = recipe.train.batch_videos * sampler.views // processes
    with contextlib.redirect_stdout(sys.stderr):
        options = [f"--set={change}" for change in changes]
        cost = measure(name, make_videos(folder), folder / "run", *options)
    gpu = gpu_seconds(recipe, clips, sampler.frames)
    host = cost.launches * LAUNCH
    step = max(gpu, host) + cost.waits * WAIT
    planning = planning_seconds(recipe, processes)
    return {
        "clips": clips,
        "gpu": gpu,
        "launches": cost.launches,
        "waits": cost.waits,
        "host": host,
        "planning": planning,
        "host_share": 1 - gpu / step,
        "planning_share": planning / step,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+", metavar="RECIPE", help="for pre-training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes")
    parser.add_argument("--processes", type=int, default=1, help="that share a batch")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.recipes:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = share(name, arguments.changes, arguments.processes, Path(folder))
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for name, figures in found.items():
        print(
            f"{name}: {figures['clips']:g} clips; GPU {1e3 * figures['gpu']:.1f} ms; "
            f"{figures['launches']:g} launches {1e3 * figures['host']:.1f} ms, "
            f"{figures['waits']:g} waits: host's share {figures['host_share']:.0%}; "
            f"planning {1e3 * figures['planning']:.1f} ms, {figures['planning_share']:.1%}"
        )


if __name__ == "__main__":
    main()
