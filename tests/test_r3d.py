"""R3D: parameter counts, stage shapes and taps (methods' table of VCOP-style networks)."""

import pytest
import torch
from pydantic import ValidationError

from vidssl_plugins.backbones.hooks import R3D


@pytest.mark.parametrize(
    ("depth", "parameters"), [(10, 14_361_792), (18, 33_166_272), (34, 63_475_904)]
)
def test_parameter_counts(depth, parameters):
    with torch.device("meta"):
        network = R3D(name="r3d", depth=depth).build()
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_stage_shapes_at_full_width():
    with torch.device("meta"):
        network = R3D(name="r3d", depth=10).build()
        taps = network(torch.empty(2, 3, 16, 112, 112))
    shapes = {name: tuple(tap.shape[1:]) for name, tap in taps.items()}
    assert shapes == {
        "conv1": (64, 16, 56, 56),
        "conv2": (64, 16, 56, 56),
        "conv3": (128, 8, 28, 28),
        "conv4": (256, 4, 14, 14),
        "conv5": (512, 2, 7, 7),
        "pool1": (64, 16, 56, 56),
        "pool2": (64, 16, 56, 56),
        "pool3": (128, 8, 28, 28),
        "pool4": (256, 4, 14, 14),
        "pool5": (512,),
        "feat": (512,),
    }
    assert network.taps == {name: shape[0] for name, shape in shapes.items()}


def test_the_representation_is_the_average_of_the_last_stage():
    network = R3D(name="r3d", depth=10, width=4).build()
    taps = network(torch.randn(2, 3, 8, 32, 32))
    assert network.feature_dim == 32
    torch.testing.assert_close(taps["feat"], taps["conv5"].mean((2, 3, 4)))
    assert (taps["conv5"] >= 0).all()  # taps are taken after the ReLU


def test_a_fresh_network_keeps_the_scale_of_its_input():
    torch.manual_seed(0)
    network = R3D(name="r3d", depth=18, width=8).build()
    taps = network(torch.randn(4, 3, 8, 32, 32))
    for name in ("conv2", "conv3", "conv4", "conv5"):
        assert 0.3 < taps[name].std() < 3, name


def test_the_representation_stays_float32_under_autocast():
    network = R3D(name="r3d", depth=10, width=4).build()
    with torch.autocast("cpu", torch.bfloat16):
        taps = network(torch.randn(2, 3, 8, 32, 32))
    assert taps["conv5"].dtype == torch.bfloat16
    assert taps["feat"].dtype == torch.float32


@pytest.mark.parametrize("options", [{"depth": 50}, {"width": 0}, {"layers": 3}])
def test_refuses_what_it_does_not_know(options):
    with pytest.raises(ValidationError):
        R3D(name="r3d", **options)
