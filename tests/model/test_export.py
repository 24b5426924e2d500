"""Exported files give the run's features, for every backbone, any number of clips and any size."""

import json
import sys

import numpy as np
import pytest
import torch

from vidssl_cli.base.errors import UsageError, VidsslError
from vidssl_cli.config.sections import Evaluation, Input
from vidssl_cli.contract.registry import offered
from vidssl_cli.model import export as module
from vidssl_cli.model.card import Card, KeptProjection
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.export import CONTRACT, TOLERANCE, export, reference

SMALL = {
    "c3d": {"width": 2},
    "mc3": {"width": 4},
    "r2plus1d": {"depth": 10, "width": 4},
    "r3d": {"depth": 10, "width": 4},
    "s3dg": {"width": 4},
    "vit": {"width": 24, "depth": 4, "heads": 2, "tubelet": [2, 8, 8]},
}


def make(name, side=16, frames=8, mode="rgb", options=None, **more):
    torch.manual_seed(0)
    backbone = offered("backbone")[name](name=name, **SMALL[name], **(options or {}))
    evaluation = more.pop("evaluation", {"tap": "feat"})
    card = Card(
        backbone=backbone,
        input=Input(resize=(side + 4, side + 8), crop=side, mode=mode, mean=(0.4, 0.5, 0.6)),
        frames=frames,
        evaluation=Evaluation(**evaluation),
        seed=0,
        **more,
    )
    encoder = Encoder(card, backbone.build(), torch.device("cpu"))
    for module_ in encoder.backbone.modules():  # norms that do something
        if (mean := getattr(module_, "running_mean", None)) is not None:
            mean.normal_(std=0.1)
    return encoder


def clips(*shape):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.manual_seed(1))


def assert_alike(found, wanted):
    wanted = wanted.numpy()
    assert np.abs(np.asarray(found) - wanted).max() <= TOLERANCE * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("name", "side", "frames", "any_length"),
    [
        ("r3d", 16, 16, True),
        ("r2plus1d", 16, 16, True),
        ("mc3", 16, 16, True),
        ("c3d", 32, 16, True),
        ("s3dg", 32, 16, True),
        ("vit", 16, 8, False),
    ],
)
def test_every_backbone(name, side, frames, any_length, tmp_path):
    encoder = make(name, side, frames)
    file = tmp_path / "network.pt2"
    contract = export(encoder, "torch-export", file)
    assert contract["difference"] <= TOLERANCE
    extra = {CONTRACT: ""}
    network = torch.export.load(file, extra_files=extra).module()
    told = json.loads(extra[CONTRACT])
    assert told["input"]["shape"] == ["N", "T" if any_length else frames, "H", "W", 3]
    assert told["output"]["shape"] == ["N", encoder.backbone.feature_dim]
    run = reference(encoder)
    for given in (clips(1, frames, side, side), clips(3, frames, side + 9, side + 1)):
        assert_alike(network(given), run(given))
    if any_length:
        longer = clips(2, 2 * frames, side, side + 3)
        assert_alike(network(longer), run(longer))


@pytest.mark.parametrize(
    "more",
    [
        {"mode": "residual", "evaluation": {"tap": "pool4", "pool": "gmp"}},
        {
            "evaluation": {"tap": "projection"},
            "projection": KeptProjection(pretext=0, tap="feat", hidden=(8,), dim=5),
        },
    ],
    ids=["residual", "projection"],
)
def test_input_and_output_are_those_of_the_run(more, tmp_path):
    encoder = make("r3d", **more)
    contract = export(encoder, "torch-export", tmp_path / "network.pt2")
    assert contract["output"]["shape"][1] == (5 if "projection" in more else 16)


def test_onnx(tmp_path, toy_videos):
    for name in module.NEEDED:
        pytest.importorskip(name, reason="needs vidssl[export]")
    import onnxruntime

    encoder = make("r3d", frames=16)
    file = tmp_path / "network.onnx"
    contract = export(encoder, "onnx", file, [clips(2, 16, 20, 30)])
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    assert (given.name, given.type) == ("clips", "tensor(uint8)")
    assert given.shape == ["N", "T", "H", "W", 3]
    assert session.get_outputs()[0].shape == ["N", 32]
    told = json.loads(session.get_modelmeta().custom_metadata_map[CONTRACT])
    assert told["weights"] == contract["weights"] == encoder.digest
    run = reference(encoder)
    for some in (clips(1, 16, 16, 16), clips(3, 32, 17, 40)):
        assert_alike(session.run(["features"], {"clips": some.numpy()})[0], run(some))


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(VidsslError, match="off the run on clips of"):
        export(make("r3d"), "torch-export", tmp_path / "network.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_exported_says_why(tmp_path):
    encoder = make("r3d")
    built = type(encoder.card.backbone).build

    def build(self):
        network = built(self)
        network.register_forward_pre_hook(lambda _, given: float(given[0].sum()) and None)
        return network

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(encoder.card.backbone), "build", build)
        with pytest.raises(VidsslError, match="r3d cannot be exported: "):
            export(encoder, "torch-export", tmp_path / "network.pt2")


def test_what_is_refused(tmp_path, monkeypatch):
    encoder = make("r3d")
    with pytest.raises(UsageError, match=r"does not end in \.onnx"):
        export(encoder, "onnx", tmp_path / "network.pt2")
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(VidsslError, match="--to onnx needs onnxscript"):
        export(encoder, "onnx", tmp_path / "network.onnx")
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    monkeypatch.setattr(module, "ONNX_BYTES", 1000)
    with pytest.raises(UsageError, match="an ONNX file holds 2"):
        export(encoder, "onnx", tmp_path / "network.onnx")


def test_clips_to_check_with_are_larger_than_the_square_and_moving():
    parts = module._made_up(make("r3d"))
    assert all(part.dtype == torch.uint8 and part.shape[1] == 8 for part in parts)
    assert min(min(part.shape[2:4]) for part in parts) >= 16


def test_the_command(toy_encoder, toy_videos, tmp_path, monkeypatch, capsys):
    from vidssl_cli.cli import main

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["vidssl", "export", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    toy_encoder().export(tmp_path / "run")
    file = tmp_path / "network.pt2"
    words = [tmp_path / "run", "--to", "torch-export", "--out", file, "--json"]
    assert command(*words, "--check", toy_videos[0].path) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(file)
    assert told["difference"] <= TOLERANCE
    assert command(*words) == 2  # it is there already
    assert command(*words, "--overwrite", "--check", tmp_path / "no.mp4") != 0
    assert file.exists()
