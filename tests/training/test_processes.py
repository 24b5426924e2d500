"""Processes that torchrun starts, each with a GPU of its own."""

import os
import sys
from pathlib import Path

import pytest

from simulated_gpu.device import simulate
from vidssl_cli.base.errors import UsageError
from vidssl_cli.training.processes import open_world


@pytest.fixture
def torchrun(monkeypatch):
    """Variables that torchrun sets for the second of two processes."""
    variables = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_a_process_needs_a_gpu_of_its_own(torchrun):
    told = "process 2 of this machine has no GPU: torch sees 1"
    with simulate(), pytest.raises(UsageError, match=told) as error, open_world("cuda"):
        pass
    assert "--nproc-per-node 1" in error.value.hint


@pytest.mark.parametrize("missing", [["LOCAL_RANK"], ["RANK", "MASTER_ADDR"]])
def test_several_processes_need_torchrun(missing, torchrun, monkeypatch):
    for name in missing:
        monkeypatch.delenv(name)
    told = f"WORLD_SIZE is 2, but not {', '.join(missing)}"
    with pytest.raises(UsageError, match=told), open_world("cpu"):
        pass


COMPILED = """
import sys, torch
from test_distributed import PretrainLearner, Stepper, World, build, build_optimizer, join
from test_distributed import make_batch
rank, size, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
join("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
for compiled in (False, True):
    recipe = build("pace")
    train = recipe.train.model_copy(update={"accumulate": 2})
    torch.manual_seed(0)
    learner = PretrainLearner(recipe, 12)
    if compiled:
        learner.backbone.compile(backend="aot_eager")
    optimizer = build_optimizer(learner, train.optimizer)
    world = World(rank, size, torch.device("cpu"))
    stepper = Stepper(learner, optimizer, train, 3, world, "fp32")
    batches = [make_batch(recipe, step, rank, size) for step in range(2)]
    print(*(f"{stepper(batch, step)['loss']:.4f}" for step, batch in enumerate(batches)))
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


def test_accumulation_compilation_and_two_processes_together(in_processes, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    plain, compiled = in_processes(COMPILED, 2).splitlines()
    assert plain == compiled
