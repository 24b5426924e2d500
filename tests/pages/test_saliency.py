"""Attention and guided backpropagation, against the values of the papers and slow references."""

from itertools import product
from math import floor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vidssl_cli.contract.registry import offered
from vidssl_cli.pages.saliency import (
    bounded,
    energy,
    guided_gradient,
    min_max,
    spread,
    unit,
    without_median,
)


def test_attention_of_the_specification():
    """T-EV7."""
    tap = torch.tensor([[[[1.0, -2], [0, 3]]], [[[2, 0], [1, 0]]]])
    cells = energy(tap)
    assert cells.flatten().tolist() == [5, 4, 1, 9]
    assert energy(tap, 1).flatten().tolist() == [3, 2, 1, 3]
    expected = [0.450835, 0.360668, 0.090167, 0.811503]
    assert unit(cells).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert min_max(cells).flatten().tolist() == [0.5, 0.375, 0, 1]
    assert min_max(unit(cells)).flatten().tolist() == pytest.approx([0.5, 0.375, 0, 1])


def test_a_map_without_contrast_is_zero():
    for value in (0.0, 3.0):
        flat = torch.full((2, 3, 3), value)
        assert min_max(unit(flat)).eq(0).all()


def test_a_few_values_do_not_darken_the_others_and_do_not_vanish():
    values = torch.zeros(1000)
    values[500] = 5
    assert torch.equal(bounded(values), values / 5)
    values[:500] = 1
    expected = torch.ones(1000)
    expected[501:] = 0
    assert torch.equal(bounded(values), expected)


def lerp(values, count, place):
    """Read a list of values at the middle of one of ``count`` equal parts, linearly."""
    where = min(max((place + 0.5) * len(values) / count - 0.5, 0), len(values) - 1)
    low = floor(where)
    high = min(low + 1, len(values) - 1)
    return values[low] + (where - low) * (values[high] - values[low])


@pytest.mark.parametrize("time", ["linear", "nearest"])
@pytest.mark.parametrize("size", [(8, 7, 5), (3, 3, 4), (16, 12, 12)])
def test_enlarging_is_linear_along_every_axis(time, size):
    cells = torch.rand((3, 3, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    large = spread(cells, size, time)
    assert large.shape == size
    for t, y, x in product(*map(range, size)):
        frames = [
            lerp([lerp(row, size[2], x) for row in frame], size[1], y) for frame in cells.tolist()
        ]
        expected = (
            lerp(frames, size[0], t)
            if time == "linear"
            else frames[floor((t + 0.5) * len(frames) / size[0])]
        )
        assert large[t, y, x].item() == pytest.approx(expected)


def test_guided_relu_and_median_of_the_specification():
    """T-EV8."""
    x = torch.tensor([-1.0, 2, 3, -4], requires_grad=True)
    score = (torch.tensor([5.0, -6, 7, 8]) * F.relu(x)).sum()
    assert guided_gradient(score, x).tolist() == [0, 0, 7, 0]
    gradient = torch.tensor([[1.0, 2, 9], [-4, 0, 2]])[None, :, None]  # (C, T, H, W)
    assert without_median(gradient).reshape(2, 3).tolist() == [[1, 0, 7], [4, 0, 2]]


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(x)


RELUS = {
    "module": nn.ReLU(),
    "module in place": InPlace(),
    "functional": F.relu,
    "functional in place": lambda x: F.relu(x, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": lambda x: x.relu(),
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_guided_backpropagation_by_hand_whatever_the_relu(relu):
    random = np.random.default_rng(3)
    first, second, last = (random.normal(size=s) for s in ((6, 5), (4, 6), (4,)))
    x = random.normal(size=5)

    def through(gradient, before):
        return gradient * (gradient > 0) * (before > 0)

    before_one = first @ x
    before_two = second @ before_one.clip(0)
    by_hand = first.T @ through(second.T @ through(last, before_two), before_one)
    plain = first.T @ (second.T @ (last * (before_two > 0)) * (before_one > 0))
    assert not np.allclose(by_hand, plain)

    clip = torch.from_numpy(x).requires_grad_()
    hidden = relu(torch.from_numpy(second) @ relu(torch.from_numpy(first) @ clip))
    gradient = guided_gradient(torch.from_numpy(last) @ hidden, clip)
    assert gradient.numpy() == pytest.approx(by_hand)


def test_a_rectifier_before_a_fork_is_guided_once_by_the_sum():
    x = torch.tensor([2.0, 2.0], requires_grad=True)
    y = F.relu(x)
    score = (torch.tensor([3.0, -5.0]) * y).sum() + (torch.tensor([-1.0, 7.0]) * y).sum()
    assert guided_gradient(score, x).tolist() == [2, 2]


@given(st.lists(st.floats(-10, 10), min_size=3, max_size=12))
def test_guided_gradients_of_positive_weights_are_plain(values):
    """Where no weight is negative no gradient is, so there is nothing to guide."""
    weights = torch.rand(4, len(values), generator=torch.Generator().manual_seed(1))
    found = []
    for propagate in (guided_gradient, lambda s, x: torch.autograd.grad(s, x)[0]):
        x = torch.tensor(values, requires_grad=True)
        found.append(propagate(F.relu(weights @ x).sum(), x))
    assert torch.equal(*found)


SMALL = {"c3d_light": {"representation": "gap"}, "r3d": {"depth": 10}, "r2plus1d": {"depth": 10}}


@pytest.mark.parametrize("norm", ["bn", "tgn"])
@pytest.mark.parametrize("name", sorted(offered("backbone").keys() - {"vit"}))
def test_every_backbone_with_rectifiers_is_guided_from_its_taps_to_the_pixels(name, norm):
    torch.manual_seed(0)
    options = {"width": 4, "norm": {"name": norm}} | SMALL.get(name, {})
    network = offered("backbone")[name](name=name, **options).build().eval()
    values = torch.randn(1, 3, 8, 32, 32)
    gradients = []
    for propagate in (guided_gradient, lambda s, x: torch.autograd.grad(s, x)[0]):
        clip = values.clone().requires_grad_()
        gradients.append(propagate(network(clip)["feat"].norm(), clip))
    guided, plain = gradients
    assert guided.isfinite().all()
    assert (guided.abs().amax((0, 1, 3, 4)) > 0).all()  # every frame is reached
    assert not torch.allclose(guided, plain)
