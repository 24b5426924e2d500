"""The simulated GPU refuses what a GPU refuses, counts what it makes slow, and computes right.

Each fault that code may have on a GPU and not on a CPU is planted here, and must be found.
"""

import threading

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from simulated_gpu.counts import KINDS
from simulated_gpu.device import simulate
from simulated_gpu.nccl import two_processes


@pytest.fixture
def counts():
    with simulate() as counts:
        yield counts


@pytest.fixture
def x(counts):
    return torch.arange(6.0).view(2, 3).to("cuda")


TWO_DEVICES = {
    "an operand is on the host": lambda x: x + torch.ones(2, 3),
    "an operand is on the host, in place": lambda x: x.add_(torch.ones(3)),
    "a network was not moved": lambda x: nn.Linear(3, 1)(x),
    "clips were not moved": lambda x: nn.Conv3d(3, 1, 1).to("cuda")(torch.ones(1, 3, 1, 1, 1)),
    "labels are on the host": lambda x: F.cross_entropy(x, torch.tensor([0, 1])),
    "a buffer is made on the host": lambda x: torch.cat([x, torch.zeros(2, 3)]),
    "a number is stacked as a tensor of the host": lambda x: torch.stack(
        [x[0, 0], torch.zeros(())]
    ),
    "the result is to be on the host": lambda x: torch.add(x, 1, out=torch.empty(2, 3)),
    "rows are gathered by places on the host": lambda x: x.index_select(0, torch.tensor([0])),
    "a table on the host is indexed by places": lambda x: torch.ones(6)[x.long()],
    "values from the host are written": lambda x: x.index_put_((x > 2,), torch.ones(3)),
    "a mask is on the host": lambda x: torch.where(torch.ones(2, 3) > 0, x, x),
}


@pytest.mark.parametrize("fault", TWO_DEVICES)
def test_operands_on_two_devices_are_refused(fault, x):
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        TWO_DEVICES[fault](x)


@pytest.mark.parametrize("take", [lambda x: x.numpy(), np.asarray, lambda x: np.add(x, 1)])
def test_numpy_is_refused(take, x):
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        take(x)


def test_a_fault_in_a_backward_pass_is_found(x):
    class Fault(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            assert torch.ones(1, device="cuda").device == gradient.device
            return gradient * torch.ones(2, 3)

    with pytest.raises(RuntimeError, match="at least two devices"):
        Fault.apply(x.requires_grad_()).sum().backward()


def test_a_fault_in_a_thread_is_found(x):
    found = []

    def work():
        try:
            torch.ones(2, 3, device="cuda") + torch.ones(2, 3)
        except RuntimeError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "at least two devices" in found[0]


ALLOWED = {
    "a number": lambda x: x + 1,
    "a tensor of the host that is a number": lambda x: x * torch.tensor(2.0),
    "filling": lambda x: x.masked_fill(x > 2, torch.tensor(0.0)),
    "a tensor made on the device": lambda x: x + torch.ones(3, device="cuda"),
    "a tensor made like another": lambda x: x + torch.zeros_like(x) + x.new_ones(3),
    "a tensor from numbers": lambda x: x + torch.tensor([1.0, 2.0, 3.0], device="cuda"),
    "a list of rows": lambda x: x[[0, 1]],
}


@pytest.mark.parametrize("what", ALLOWED)
def test_what_a_gpu_allows_gives_what_the_cpu_gives(what, x):
    host = x.cpu()
    on_gpu = ALLOWED[what](x)
    assert on_gpu.device == torch.device("cuda", 0)
    expected = {
        "a number": host + 1,
        "a tensor of the host that is a number": host * 2,
        "filling": host.clamp(max=2) * (host <= 2),
        "a tensor made on the device": host + 1,
        "a tensor made like another": host + 1,
        "a tensor from numbers": host + torch.tensor([1.0, 2.0, 3.0]),
        "a list of rows": host,
    }
    assert torch.equal(on_gpu.cpu(), expected[what])


WAITS = {
    "item": (lambda x: x.sum().item(), 1),
    "float": (lambda x: float(x[0, 0]), 1),
    "bool": (lambda x: bool((x > 0).all()), 1),
    "if": (lambda x: 1 if x.any() else 0, 1),
    "int": (lambda x: range(x[0, 1].long()), 1),
    "tolist": (lambda x: x.tolist(), 1),
    "a copy to the host": (lambda x: x.cpu(), 1),
    "a copy to the host in inference mode": (torch.inference_mode()(lambda x: (x + 1).cpu()), 1),
    "a copy into a tensor of the host": (lambda x: torch.empty(2, 3).copy_(x), 1),
    "a copy from the host": (lambda x: torch.ones(3).to("cuda"), 1),
    "a copy from memory that is not pinned": (
        lambda x: torch.ones(3).to("cuda", non_blocking=True),
        1,
    ),
    "a blocking copy from pinned memory": (lambda x: torch.ones(3).pin_memory().to("cuda"), 1),
    "a tensor from numbers": (lambda x: torch.tensor([1.0], device="cuda"), 1),
    "nonzero": (lambda x: x.nonzero(), 1),
    "where": (lambda x: torch.where(x > 2), 1),
    "a mask": (lambda x: x[x > 2], 1),
    "a mask that is written to": (lambda x: x.__setitem__(x > 2, 0.0), 1),
    "an index on the host": (lambda x: x[torch.tensor([0])], 1),
    "unique": (lambda x: x.unique(), 1),
    "bincount": (lambda x: x.flatten().long().bincount(minlength=6), 1),
    "one_hot without classes": (lambda x: F.one_hot(x.long()), 1),
    "repeat_interleave": (lambda x: x.repeat_interleave(torch.full((2,), 2, device="cuda"), 0), 1),
    "equal": (lambda x: torch.equal(x, x), 1),
    "synchronize": (lambda x: torch.cuda.synchronize(), 1),
    "arithmetic": (lambda x: (x @ x.T).softmax(-1).sum(), 0),
    "views": (lambda x: x[0].view(3, 1).expand(3, 2).transpose(0, 1), 0),
    "where with three operands": (lambda x: torch.where(x > 2, x, 0), 0),
    "an index on the device": (lambda x: x[torch.zeros(2, dtype=torch.long, device="cuda")], 0),
}


@pytest.mark.parametrize("what", WAITS)
def test_waits_are_counted(what, x, counts):
    before = counts.copy()
    call, expected = WAITS[what]
    call(x)
    assert (counts - before).total("waits") == expected, counts.waits


def test_a_copy_from_pinned_memory_need_not_wait(x, counts):
    before = counts.copy()
    pinned = torch.empty((2, 3), pin_memory=True)
    pinned.numpy()[:] = 1
    assert (x + pinned[0].to("cuda", non_blocking=True)).sum().cpu() == 21
    assert (counts - before).waits.total() == 1  # the last
    assert (counts - before).copies.total() == 2


def test_launches_and_copies_are_counted(x, counts):
    before = counts.copy()
    y = x[0].view(1, 3).to("cuda")  # is there already
    torch.empty(3, device="cuda")
    assert [(counts - before).total(kind) for kind in KINDS] == [0, 0, 0]
    (y + 1).relu_()
    assert [(counts - before).total(kind) for kind in KINDS] == [0, 2, 0]
    y.cpu()
    assert [(counts - before).total(kind) for kind in KINDS] == [1, 2, 1]


def test_waits_are_counted_by_the_line_of_the_package_that_asks(x, counts, tmp_path):
    file = tmp_path / "vidssl_cli" / "made_up.py"
    code = "def wait(x):\n    y = x * 2\n    y.sum().backward()\n    return y.max().item()\n"
    scope = {}
    exec(compile(code, file, "exec"), scope)
    before = counts.copy()
    scope["wait"](x.requires_grad_())
    found = counts - before
    assert found.waits == {"vidssl_cli/made_up.py:4 local_scalar_dense": 1}
    assert found.launches["vidssl_cli/made_up.py:2"] == 1
    assert found.launches["vidssl_cli/made_up.py:3"] > 1  # of the backward pass, too


def test_a_copy_shares_nothing(counts):
    host = torch.zeros(3)
    there = host.to("cuda")
    host += 1
    back = there.cpu()
    there += 2
    assert back.tolist() == [0, 0, 0]
    assert there.tolist() == [2, 2, 2]


def test_a_parameter_that_moves_stays_the_same_object(counts):
    network = nn.Linear(3, 1)
    weight = network.weight
    network.to("cuda")
    assert network.weight is weight
    assert weight.device == torch.device("cuda", 0)
    assert isinstance(weight, nn.Parameter)


def test_it_trains_what_the_cpu_trains(counts):
    def learn(device):
        torch.manual_seed(0)
        layers = [nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.Flatten()]
        network = nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(4 * 2 * 4 * 4, 5)).to(device)
        optimizer = torch.optim.AdamW(network.parameters())
        x, y = torch.randn(2, 3, 2, 4, 4).to(device), torch.tensor([1, 2]).to(device)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert learn("cuda") == pytest.approx(learn("cpu"), rel=1e-6)


def test_autocast_computes_products_in_its_precision(x):
    with torch.autocast("cuda", torch.bfloat16):
        assert (x @ x.T).dtype == torch.bfloat16
        assert (x + 1).dtype == torch.float32
    with torch.autocast("cuda", torch.bfloat16, enabled=False):
        assert (x @ x.T).dtype == torch.float32


@pytest.fixture
def nccl(counts):
    with two_processes():
        distributed.init_process_group("nccl", device_id=torch.device("cuda", 0))
        try:
            yield
        finally:
            distributed.destroy_process_group()


def test_the_other_process_holds_the_same(x, nccl):
    host = x.cpu()
    distributed.all_reduce(x)
    assert torch.equal(x.cpu(), 2 * host)
    parts = [torch.empty_like(x) for _ in range(2)]
    distributed.all_gather(parts, x)
    assert all(torch.equal(part.cpu(), 2 * host) for part in parts)
    distributed.all_reduce(x, distributed.ReduceOp.MAX)
    assert torch.equal(x.cpu(), 2 * host)
    distributed.barrier()


COLLECTIVES = {
    "all_reduce": (lambda x: distributed.all_reduce(torch.ones(3)), "device type cpu"),
    "broadcast": (lambda x: distributed.broadcast(torch.ones(3), 0), "device type cpu"),
    "all_gather": (
        lambda x: distributed.all_gather([torch.ones(2, 3) for _ in range(2)], x),
        "device type cpu",
    ),
    "of a network": (lambda x: DistributedDataParallel(nn.Linear(3, 1)), "device type cpu"),
    "not contiguous": (lambda x: distributed.all_reduce(x.T), "contiguous"),
}


@pytest.mark.parametrize("fault", COLLECTIVES)
def test_what_nccl_refuses_is_refused(fault, x, nccl):
    call, told = COLLECTIVES[fault]
    with pytest.raises((RuntimeError, ValueError), match=told):
        call(x)


def test_without_it_there_is_no_gpu():
    with simulate():
        assert torch.cuda.is_available()
    assert not torch.accelerator.is_available()
    with torch.random.fork_rng():
        torch.rand(1)
    assert torch.ones(1).requires_grad_().mul(2).backward() is None
