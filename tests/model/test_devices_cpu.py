"""bf16 convolutions on this CPU against double precision: result and both gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vidssl_cli.model.devices_cpu import pad_short_clips


def error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("side", [1, 2, 3, 8])
@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        (3, 1, 1),
        (3, 2, 1),
        (3, (1, 2, 2), 1),
        ((3, 1, 1), 1, (1, 0, 0)),
        ((3, 7, 7), (1, 2, 2), (1, 3, 3)),
        (7, (1, 2, 2), 3),
        ((7, 1, 1), (2, 1, 1), (3, 0, 0)),
        (5, 1, 2),
        ((1, 3, 3), 1, (0, 1, 1)),
        ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        ((1, 7, 7), (1, 2, 2), (0, 3, 3)),
    ],
)
def test_bf16_agrees_with_double_precision(frames, side, kernel, stride, padding):
    torch.manual_seed(0)
    conv = nn.Conv3d(16, 16, kernel, stride, padding, bias=False)
    weight = conv.weight.detach().double().requires_grad_()
    clips = torch.randn(4, 16, frames, side, side)
    exact_clips = clips.double().requires_grad_()
    exact = F.conv3d(exact_clips, weight, None, stride, padding)
    gradient = torch.randn_like(exact)
    exact.backward(gradient)

    pad_short_clips(conv)
    conv.to(memory_format=torch.channels_last_3d)
    clips = clips.to(memory_format=torch.channels_last_3d).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(clips)
    found.backward(gradient.bfloat16())
    assert error(found, exact) < 0.02
    assert error(clips.grad, exact_clips.grad) < 0.02
    assert error(conv.weight.grad, weight.grad) < 0.02


def test_names_weights_and_copies_stay():
    network = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.BatchNorm3d(4))
    names = list(network.state_dict())
    pad_short_clips(network)
    assert list(network.state_dict()) == names
    twin = copy.deepcopy(network)
    with torch.no_grad():
        twin[0].weight.zero_()
    clips = torch.randn(1, 3, 2, 4, 4)
    assert twin[0](clips).abs().max() < network[0](clips).abs().max()


def test_the_result_is_that_of_torch():
    conv = nn.Conv3d(3, 4, 3, padding=1)
    clips = torch.randn(2, 3, 2, 6, 6)
    expected = conv(clips)
    pad_short_clips(conv)
    torch.testing.assert_close(conv(clips), expected)
