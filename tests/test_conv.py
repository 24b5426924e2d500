import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidssl_plugins.backbones.conv import Conv3d


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gradients_are_those_of_the_plain_convolution_in_float32(frames, stride, precision):
    torch.manual_seed(0)
    conv = Conv3d(16, 16, 3, stride, padding=1, bias=False)
    conv.to(memory_format=torch.channels_last_3d)
    clips = torch.randn(4, 16, frames, 6, 6).contiguous(memory_format=torch.channels_last_3d)
    clips.requires_grad_()
    expected = F.conv3d(clips, conv.weight, stride=stride, padding=1)
    out_gradient = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, (clips, conv.weight), out_gradient)

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
        found = conv(clips)
    tolerance = 0.03 if precision == torch.bfloat16 else 1e-5
    assert (found - expected).abs().max() < tolerance * expected.abs().max()
    for value, reference in zip(
        torch.autograd.grad(found, (clips, conv.weight), out_gradient.to(found.dtype)),
        gradients,
        strict=True,
    ):
        assert (value - reference).abs().max() < tolerance * reference.abs().max()


def test_it_has_the_parameters_of_the_plain_convolution():
    plain = nn.Conv3d(4, 8, 3, padding=1)
    Conv3d(4, 8, 3, padding=1).load_state_dict(plain.state_dict())
