"""What a GPU cannot compute the same way each time is known before training begins."""

import pytest
import torch
from torch import nn

from simulated_gpu.costs import make_videos, shrunk
from simulated_gpu.device import simulate
from vidssl_cli.base.errors import UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run
from vidssl_cli.contract.registry import offered
from vidssl_cli.training.determinism import require_determinism, undetermined

CLIP = (3, 8, 32, 32)


class Pooled(nn.Module):
    """A network of one layer."""

    def __init__(self, layer):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv3d(3, 4, 3), layer)

    def forward(self, clips):
        return {"feat": self.layers(clips).mean((2, 3, 4))}


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (nn.AvgPool3d(2), ["AvgPool3d"]),
        (nn.AdaptiveAvgPool3d(2), ["AdaptiveAvgPool3d"]),
        (nn.Upsample(scale_factor=2, mode="trilinear"), ["interpolate"]),
        (nn.ReflectionPad3d(1), ["ReflectionPad3d"]),
        (nn.BatchNorm3d(4), []),
        (nn.ReplicationPad3d(1), []),
    ],
)
def test_layers_are_found_by_what_their_gradients_need(layer, found):
    network = Pooled(layer)
    assert undetermined(network, CLIP) == found
    assert all(p.device.type == "cpu" and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("name", ["c3d", "s3dg", "r3d", "r2plus1d", "vit"])
def test_max_pooling_depends_on_what_torch_says_of_itself(name, monkeypatch):
    small = {"vit": {"width": 24, "depth": 1, "heads": 2, "tubelet": [2, 8, 8]}}
    options = offered("backbone")[name](name=name, **small.get(name, {"width": 8}))
    network, clip = options.build(), (3, 16, 64, 64)
    pools = any(isinstance(module, nn.MaxPool3d) for module in network.modules())
    lines = torch.use_deterministic_algorithms.__doc__.splitlines()
    for says in (True, False):
        told = [line for line in lines if "nn.MaxPool3d" not in line]
        if says:
            told.insert(0, ":class:`torch.nn.MaxPool3d` when attempting to differentiate")
        monkeypatch.setattr(torch.use_deterministic_algorithms, "__doc__", "\n".join(told))
        assert undetermined(network, clip) == ([] if says or not pools else ["MaxPool3d"])


def test_the_refusal_says_what_to_do():
    with pytest.raises(UsageError, match=r"no deterministic AvgPool3d on GPUs") as refused:
        require_determinism(Pooled(nn.AvgPool3d(2)), CLIP)
    assert "another backbone" in refused.value.hint


def test_training_is_refused_before_the_first_step_and_on_a_gpu_alone(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(torch.use_deterministic_algorithms, "__doc__", "")
    (tmp_path / "videos").mkdir()
    data = make_videos(tmp_path / "videos")
    name = "papers/rotation-c3d-ucf101"
    options = *shrunk(name, data), "--set=train.deterministic=true", "--workers", 0
    words = ["pretrain", name, "--data", data, *options]

    def train(device):
        return run(app, [str(word) for word in [*words, "--device", device, "--out", out / device]])

    out = tmp_path
    with simulate():
        assert train("cuda") == 2
    assert "no deterministic MaxPool3d" in capfd.readouterr().err
    assert not list((tmp_path / "cuda" / "checkpoints").glob("*"))
    assert train("cpu") == 0
