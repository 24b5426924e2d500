"""Losses over the clips of all processes have the gradient that one process would compute."""

import json

import torch

from vidssl_plugins.pretexts.shared.gather import gather

SCRIPT = """
import json, sys
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from vidssl_cli.contract.clips import Batch
from vidssl_cli.training.processes import join
from vidssl_cli.contract.hooks import PretextContext
from vidssl_plugins.pretexts.hooks import Equivariance, SameContext

class Learner(torch.nn.Module):
    def __init__(self, *pretexts):
        super().__init__()
        self.pretexts = torch.nn.ModuleList(pretexts)

    def forward(self, clips, video):
        labels = {"couple": video // 2, "relation": video // 2}
        batch = Batch(clips, labels, video, torch.empty(0))
        return sum(pretext({"feat": clips}, batch)[0]["loss"] for pretext in self.pretexts)

rank, size, meeting = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.manual_seed(0)
clips, video = torch.randn(5, 2, 6), torch.arange(5)
head = {"proj_dim": 4, "proj_hidden": [5], "proj_norm": True}
options = SameContext(name="same_context", normalise=True, **head)
couples = Equivariance(name="equivariance")
context = PretextContext(6, {"feat": 6}, {"couple": 0, "relation": 0}, 2, 5)
learner = Learner(options.build(context), couples.build(context))
part = slice(None)
if size > 1:
    join("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
    learner = DistributedDataParallel(learner)
    part = [slice(0, 3), slice(3, 5)][rank]  # an unreadable video left a gap
loss = learner(clips[part], video[part])
loss.backward()
gradients = [parameter.grad.flatten().tolist() for parameter in learner.parameters()]
if rank == 0:
    print(json.dumps([loss.item(), *gradients]))
if size > 1:
    distributed.barrier()  # whoever leaves early breaks the connections of the others
    del learner, loss  # nothing shall hold on to the group beyond its end
    distributed.destroy_process_group()
"""


def test_two_processes_compute_what_one_does(in_processes):
    alone, together = (json.loads(in_processes(SCRIPT, size)) for size in (1, 2))
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(torch.tensor(b), torch.tensor(a))


def test_a_single_process_keeps_its_rows():
    rows = torch.ones(2, 3)
    assert gather(rows) is rows
