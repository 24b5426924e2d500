"""Two processes take the steps that one takes, whatever the method.

Every method learns a few steps from the same made-up batches, in one process and in two. Batch
norms of the backbone rest (evaluation mode, statistics as initialised), for their statistics are of
each process's part of a batch; everything else is as in a run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import distributed, nn

from vidssl_cli.base.errors import VidsslError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.contract.registry import offered
from vidssl_cli.model.learner import PretrainLearner
from vidssl_cli.testing import noise_batch
from vidssl_cli.training.optimizer import build_optimizer
from vidssl_cli.training.processes import World, join
from vidssl_cli.training.step import Stepper, split_batch

PACE = {"name": "pace", "views": 2}
UNIFORM = {"name": "uniform", "views": 2}
METHODS = {
    "classify": [PACE, {"label": "pace"}],
    "pace": [PACE, {}],
    "same_context": [PACE, {"normalise": True, "temperature": 0.1}],
    "same_context, distinctive": [
        {"name": "time_equivariant", "copies": 2},
        {"group": "clip", "normalise": True, "temperature": 0.1},
    ],
    "same_pace": [PACE, {"normalise": True}],
    "temporal_transforms": [{"name": "temporal_transforms"}, {}],
    "equivariance": [{"name": "time_equivariant"}, {"temperature": 1}],
    "order": [{"name": "playback_speed", "speeds": 3}, {"hidden": 8, "dropout": 0}],
    "order, as in VCOP": [{"name": "clip_order"}, {"hidden": 8, "dropout": 0, "orders": "random"}],
    "instance": [UNIFORM, {}],
    "instance, as in MoCo": [UNIFORM, {"momentum": 0.5, "queue": 12}],
    "byol": [UNIFORM, {"momentum": 0.5}],
    "statistics": [{"name": "consecutive"}, {}],
    "sstl": [{"name": "sstl"}, {"bank_negatives": 8}],
    "vicreg": [UNIFORM, {}],
    "sigreg": [UNIFORM, {}],
    "masked_pixels": [{"name": "uniform"}, {"depth": 1, "width": 8, "heads": 2}],
    "masked_latents": [{"name": "uniform"}, {"depth": 1, "width": 8, "heads": 2}],
}
"""Sampler, and options of the pretext whose name stands before the comma."""
CONVOLUTIONS = {"name": "r3d", "depth": 10, "width": 4}
TUBELETS = {
    "name": "vit", "width": 8, "depth": 4, "heads": 2, "tubelet": [2, 4, 4], "clip": [16, 16, 16],
}  # fmt: skip
DRAWN = {"sigreg", "masked_pixels", "masked_latents"}
"""Methods that draw masks or directions while they compute: each process draws its own, as of
dropout. Their processes agree with each other, and not with one process."""
VIDEOS, SHARED, STEPS = 12, 4, 3
"""In the data set, in a batch, and steps to take."""


def build(name):
    """Return the recipe of a method at toy size."""
    sampler, options = METHODS[name]
    return PretrainRecipe.model_validate(
        {
            "backbone": TUBELETS if name.startswith("masked") else CONVOLUTIONS,
            "sampler": sampler,
            "pretext": {"name": name.partition(",")[0], **options},
            "train": {
                "epochs": 1,
                "batch_videos": SHARED,
                "optimizer": {"name": "sgd", "lr": 0.01},
                "precision": "fp32",
            },
        }
    )


def make_batch(recipe, step, rank, size):
    """Return a process's part of a global batch of noise; one video is in it twice."""
    torch.manual_seed(step)
    batch = noise_batch(recipe.sampler, SHARED, side=16, streams=recipe.streams())
    batch.clips = 4 * batch.clips - 2
    batch.video = torch.tensor([step, 5, 7, 7])
    return list(split_batch(batch, size))[rank]


def learn(name, rank, size):
    """Take a few steps; return what each measured, and every tensor at the end."""
    torch.manual_seed(0)
    recipe = build(name)
    learner = PretrainLearner(recipe, VIDEOS)
    optimizer = build_optimizer(learner, recipe.train.optimizer)
    world = World(rank, size, torch.device("cpu"))
    stepper = Stepper(learner, optimizer, recipe.train, STEPS, world, "fp32")
    for module in learner.modules():
        if type(module) is nn.BatchNorm3d:
            module.eval()
    batches = [make_batch(recipe, step, rank, size) for step in range(STEPS)]
    values = [stepper(batch, step) for step, batch in enumerate(batches)]
    return values, {key: value.clone() for key, value in learner.state_dict().items()}


def every_method(rank, size, folder):
    """Learn by every method, and leave what came of it in a folder."""
    for name in METHODS:
        values, state = learn(name, rank, size)
        (folder / f"{name} {rank}.json").write_text(json.dumps(values))
        save_file(state, folder / f"{name} {rank}.safetensors")


def process(rank, folder):
    """Be one of two processes."""
    meeting = f"file://{folder / 'meeting'}"
    join("gloo", init_method=meeting, rank=rank, world_size=2)
    every_method(rank, 2, folder)
    distributed.barrier()  # one that leaves early breaks the connection of the other
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What two processes left behind."""
    folder = tmp_path_factory.mktemp("together")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(rank), str(folder)], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    return folder


def test_every_pretext_is_tried():
    built_in = {
        name
        for name, options in offered("pretext").items()
        if options.__module__.startswith("vidssl_plugins.")
    }
    assert {name.partition(",")[0] for name in METHODS} == built_in


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_learn_what_one_learns(name, together):
    values, state = learn(name, 0, 1)
    measured = [json.loads((together / f"{name} {rank}.json").read_text()) for rank in range(2)]
    assert measured[0] == measured[1]
    for one, two in zip(values, measured[0], strict=True):
        assert two == pytest.approx(one, rel=0.2 if name in DRAWN else 1e-5, abs=1e-6)
    first, second = (load_file(together / f"{name} {rank}.safetensors") for rank in range(2))
    for key, value in state.items():
        assert torch.equal(first[key], second[key]), f"{key} differs between the processes"
        if name not in DRAWN:
            torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_memories_have_moved(together):
    """Banks, queues and slow copies are compared above; here, that there was something to compare.

    A method that keeps a memory leaves it different from how it began.
    """
    for name, moved in (
        ("sstl", {"pretexts.0.bank.cells", "pretexts.0.bank.seed"}),
        ("instance, as in MoCo", {"pretexts.0.queue.keys", "pretexts.0.slow.copy.1.0.weight"}),
    ):
        torch.manual_seed(0)
        before = PretrainLearner(build(name), VIDEOS).state_dict()
        after = load_file(together / f"{name} 0.safetensors")
        assert all(not torch.equal(before[key], after[key]) for key in moved)


ALONE = """
import os, sys, torch
from vidssl_cli.training.processes import World, join
rank, size, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
join("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
world = World(rank, size, torch.device("cpu"))
world.wait()
if rank:
    os._exit(0)
try:
    with world.explain_lost_process():
        world.max(0)
except Exception as error:
    print(type(error).__name__, error, flush=True)
os._exit(0)
"""


def test_a_process_that_is_gone_is_told_as_what_it_is(in_processes):
    assert in_processes(ALONE, 2) == "VidsslError another process of this run is gone\n"
    with (
        pytest.raises(RuntimeError, match="out of memory"),
        World(0, 1, None).explain_lost_process(),
    ):
        raise RuntimeError("CUDA out of memory")


def test_a_process_that_does_not_answer_is_told_as_that():
    with (
        pytest.raises(VidsslError, match="has not answered for 30 minutes"),
        World(0, 2, None).explain_lost_process(),
    ):
        raise distributed.DistBackendError("Timed out waiting 1800000ms for recv operation")


ENDED = """
import sys, weakref
from torch import distributed, nn
from vidssl_cli.training.processes import join
rank, size, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
join("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
group = weakref.ref(distributed.group.WORLD)
distributed.barrier()
distributed.destroy_process_group()
print(group())
"""


def test_nothing_holds_on_to_the_processes_once_they_part(in_processes):
    """A group that lives on has threads, which abort the process if they are busy at its end."""
    assert in_processes(ENDED, 2) == "None\n"


if __name__ == "__main__":
    process(int(sys.argv[1]), Path(sys.argv[2]))
