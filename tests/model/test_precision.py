"""What a network computes in is measured where the hardware leaves it open, and measured once."""

import pytest
import torch

from vidssl_cli.model import precision
from vidssl_plugins.backbones.hooks import R3D

CLIP = (3, 4, 16, 16)
CPU = torch.device("cpu")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return R3D(name="r3d", width=4).build()


@pytest.fixture(autouse=True)
def without_amx(monkeypatch):
    monkeypatch.setattr(precision, "cpu_multiplies_bf16_matrices", lambda: False)
    monkeypatch.setattr(precision, "_measured", {})
    monkeypatch.setattr(precision, "_SECONDS", 0)


@pytest.fixture
def stopwatch(monkeypatch):
    """A function that sets what each precision's steps take, and a list of those taken."""
    taken = []

    def set_seconds(**seconds):
        by_dtype = {precision.DTYPES[name]: value for name, value in seconds.items()}

        def step_seconds(network, clips, dtype):
            taken.append(dtype)
            return by_dtype[dtype]

        monkeypatch.setattr(precision, "_step_seconds", step_seconds)
        return taken

    return set_seconds


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.95, "fp32"), (3, "fp32")])
def test_bf16_must_be_clearly_faster(network, stopwatch, bf16, chosen):
    stopwatch(fp32=1, bf16=bf16)
    assert precision.training_precision(network, CLIP, CPU) == chosen


def test_a_network_is_measured_once(network, stopwatch):
    taken = stopwatch(fp32=1, bf16=0.5)
    precision.training_precision(network, CLIP, CPU)
    steps = len(taken)
    precision.training_precision(R3D(name="r3d", width=4).build(), CLIP, CPU)
    assert len(taken) == steps
    precision.training_precision(network, (3, 8, 16, 16), CPU)
    precision.training_precision(R3D(name="r3d", width=8).build(), CLIP, CPU)
    assert len(taken) == 3 * steps


def test_amx_needs_no_measurement(network, monkeypatch):
    monkeypatch.setattr(precision, "cpu_multiplies_bf16_matrices", lambda: True)
    monkeypatch.setattr(precision, "cpu_computes_bf16", lambda: True)
    monkeypatch.setattr(precision, "_time_both", lambda *_: pytest.fail("it measured"))
    assert precision.training_precision(network, CLIP, CPU) == "bf16"


def test_measuring_changes_neither_the_network_nor_the_random_numbers(network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(5)
    assert precision.training_precision(network, CLIP, CPU) in precision.DTYPES
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in network.parameters())
