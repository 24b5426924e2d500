"""Published weights: every tensor lands in its place, and nothing else is accepted."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app, failures
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.import_weights import import_weights, own_name
from vidssl_plugins.backbones.hooks import C3D, R3D, R2Plus1D

KINDS = {"r3d": R3D, "r2plus1d": R2Plus1D}


def norm(name, channels):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (channels,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


def conv(kind, name, before, after, middle):
    if kind == "r3d":
        return {f"{name}.weight": (after, before, 3, 3, 3)}
    space, time = (middle, before, 1, 3, 3), (after, middle, 3, 1, 1)
    return {f"{name}.0.weight": space, **norm(f"{name}.1", middle), f"{name}.3.weight": time}


def torchvision(kind, width=64):
    """Names and shapes of torchvision's r3d_18 or r2plus1d_18, in files as it publishes them."""
    if kind == "r3d":
        shapes = {"stem.0.weight": (width, 3, 3, 7, 7), **norm("stem.1", width)}
    else:
        middle = 45 * width // 64
        shapes = {"stem.0.weight": (middle, 3, 1, 7, 7), **norm("stem.1", middle)}
        shapes |= {"stem.3.weight": (width, middle, 3, 1, 1), **norm("stem.4", width)}
    before = width
    for layer in range(4):
        after = width * 2**layer
        for block in range(2):
            name = f"layer{layer + 1}.{block}"
            middle = before * after * 27 // (before * 9 + 3 * after)
            shapes |= conv(kind, f"{name}.conv1.0", before, after, middle)
            shapes |= norm(f"{name}.conv1.1", after)
            shapes |= conv(kind, f"{name}.conv2.0", after, after, middle)
            shapes |= norm(f"{name}.conv2.1", after)
            if before != after:
                shapes[f"{name}.downsample.0.weight"] = (after, before, 1, 1, 1)
                shapes |= norm(f"{name}.downsample.1", after)
            before = after
    return shapes | {"fc.weight": (400, before), "fc.bias": (400,)}


def weights(kind, width=4):
    """Return random weights under torchvision's names."""
    generator = torch.Generator().manual_seed(0)

    def draw(name, shape):
        if name.endswith("tracked"):
            return torch.tensor(7)
        if len(shape) == 1:
            return torch.rand(shape, generator=generator) + 0.5
        return torch.randn(shape, generator=generator) / (torch.tensor(shape[1:]).prod() ** 0.5)

    return {name: draw(name, shape) for name, shape in torchvision(kind, width).items()}


def reference(kind, w, x):
    """Compute what torchvision's networks do in evaluation, from their names."""

    def bn(x, name):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    def conv(x, name, stride):
        if kind == "r3d":
            return F.conv3d(x, w[f"{name}.weight"], stride=stride, padding=1)
        space, time = ((1, stride, stride), (0, 1, 1)), ((stride, 1, 1), (1, 0, 0))
        x = F.relu(bn(F.conv3d(x, w[f"{name}.0.weight"], None, *space), f"{name}.1"))
        return F.conv3d(x, w[f"{name}.3.weight"], None, *time)

    if kind == "r3d":
        x = F.conv3d(x, w["stem.0.weight"], None, (1, 2, 2), (1, 3, 3))
        x = F.relu(bn(x, "stem.1"))
    else:
        x = F.relu(bn(F.conv3d(x, w["stem.0.weight"], None, (1, 2, 2), (0, 3, 3)), "stem.1"))
        x = F.relu(bn(F.conv3d(x, w["stem.3.weight"], None, 1, (1, 0, 0)), "stem.4"))
    for layer in range(1, 5):
        for block in range(2):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(bn(conv(x, f"{name}.conv1.0", stride), f"{name}.conv1.1"))
            y = bn(conv(y, f"{name}.conv2.0", 1), f"{name}.conv2.1")
            if f"{name}.downsample.0.weight" in w:
                x = F.conv3d(x, w[f"{name}.downsample.0.weight"], stride=stride)
                x = bn(x, f"{name}.downsample.1")
            x = F.relu(x + y)
    return x.mean((2, 3, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_full_size_names_and_shapes_fit(kind):
    with torch.device("meta"):
        own = KINDS[kind](name=kind).build().state_dict()
    public = KINDS[kind].public
    shapes = {name: s for name, s in torchvision(kind).items() if not name.startswith("fc")}
    assert {own_name(n, public): s for n, s in shapes.items()} == {
        name: tuple(tensor.shape) for name, tensor in own.items()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_the_network_computes_what_it_was_trained_to(kind, suffix, tmp_path):
    state, file = weights(kind), tmp_path / f"weights.{suffix}"
    save_file(state, file) if suffix == "safetensors" else torch.save(state, file)
    imported = import_weights(file, KINDS[kind](name=kind, width=4), tmp_path / "run")
    assert imported.matched == len(state) - 2
    assert imported.left == ("fc.bias", "fc.weight")
    encoder = Encoder.load(tmp_path / "run", "cpu")
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.backbone(clips)["feat"], reference(kind, state, clips))


def test_the_card_says_what_the_weights_were_trained_to_see(tmp_path, toy_videos):
    save_file(weights("r3d"), tmp_path / "some.safetensors")
    import_weights(tmp_path / "some.safetensors", R3D(name="r3d", width=4), tmp_path / "run")
    encoder = Encoder.load(tmp_path / "run", "cpu")
    card = encoder.card
    assert (card.input.resize, card.input.crop, card.frames) == ((128, 171), 112, 16)
    assert card.input.fps == 15
    assert card.input.mean == (0.43216, 0.394666, 0.37645)
    assert card.input.std == (0.22803, 0.22145, 0.216989)
    assert card.origin.startswith("torchvision r3d_18: some.safetensors, SHA-256 ")
    skipped = []
    evaluation = card.evaluation.model_copy(update={"clips": 1})
    (found,) = embed(encoder, toy_videos[:1], evaluation=evaluation, skipped=skipped)
    assert found.features.shape == (1, 32)
    assert not skipped


def refused(tensors, tmp_path, options):
    torch.save(tensors, tmp_path / "weights.pth")
    with pytest.raises(DamagedFileError) as found:
        import_weights(tmp_path / "weights.pth", options, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    return str(found.value)


def test_every_kind_of_misfit_is_named(tmp_path):
    state = weights("r3d")
    del state["layer2.0.conv1.0.weight"]
    state["layer5.0.conv1.0.weight"] = state["stem.0.weight"]
    state["stem.1.bias"] = torch.zeros(5)
    problem = refused(state, tmp_path, R3D(name="r3d", width=4))
    assert "3 of 121 tensors" in problem
    assert "conv3.0.residual.0.weight is missing" in problem
    assert "layer5.0.residual.0.weight is superfluous" in problem
    assert "conv1.1.bias is (5,), not (4,)" in problem


@pytest.mark.parametrize("options", [{"depth": 10}, {"width": 8}, {"norm": {"name": "tgn"}}])
def test_another_network_is_refused(options, tmp_path):
    problem = refused(weights("r3d"), tmp_path, R3D(**{"name": "r3d", "width": 4, **options}))
    assert "do not fit the network" in problem
    assert "more" in problem


def test_the_weights_of_the_other_network_are_refused(tmp_path):
    refused(weights("r2plus1d"), tmp_path, R3D(name="r3d", width=4))


class Trap:
    def __reduce__(self):
        return print, ("a file of weights must not run code",)


def test_torch_itself_is_told_to_run_no_code(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vidssl_cli.model.import_weights.check_weights", lambda file: None)
    torch.save({"stem.0.weight": Trap()}, tmp_path / "weights.pth")
    with pytest.raises(DamagedFileError, match="cannot be read as weights: UnpicklingError"):
        import_weights(tmp_path / "weights.pth", R3D(name="r3d"), tmp_path / "run")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", ["garbage", "text", "module", "list", "trap"])
def test_what_is_no_state_dict_is_refused(content, tmp_path, capsys):
    file = tmp_path / "weights.pth"
    match content:
        case "garbage":
            file.write_bytes(b"weights" * 100)
        case "text":
            file.write_text("junk\n")
        case "module":
            torch.save(torch.nn.Linear(2, 2), file)
        case "list":
            torch.save([torch.zeros(2)], file)
        case "trap":
            torch.save({"stem.0.weight": Trap()}, file)
    with pytest.raises(DamagedFileError, match=r"weights\.pth"):
        import_weights(file, R3D(name="r3d"), tmp_path / "run")
    assert capsys.readouterr().out == ""


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(weights("r3d"), file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(DamagedFileError, match="cannot be read as weights"):
        import_weights(file, R3D(name="r3d", width=4), tmp_path / "run")


def test_usage(tmp_path):
    file = tmp_path / "weights.pth"
    with pytest.raises(UsageError, match="there is no file"):
        import_weights(file, R3D(name="r3d"), tmp_path / "run")
    with pytest.raises(UsageError, match=r"no published weights .* c3d") as found:
        import_weights(file, C3D(name="c3d"), tmp_path / "run")
    assert "r2plus1d, r3d" in found.value.hint
    file.write_bytes(b"")
    with pytest.raises(UsageError, match="is not empty"):
        import_weights(file, R3D(name="r3d"), tmp_path)


def test_the_command(tmp_path, capfd):
    save_file(weights("r3d"), tmp_path / "w.safetensors")
    line = ["import", str(tmp_path / "w.safetensors"), "--backbone", "r3d", "--set", "width=4"]
    assert failures.run(app, [*line, "--out", str(tmp_path / "a")]) == 0
    out, said = capfd.readouterr()
    assert out == f"{tmp_path / 'a'}\n"
    assert "torchvision r3d_18: all 120 tensors of r3d are there" in said
    assert "left out: fc.bias, fc.weight" in said
    assert failures.run(app, [*line, "--out", str(tmp_path / "b"), "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "run": str(tmp_path / "b"),
        "backbone": "r3d",
        "source": "torchvision r3d_18",
        "matched": 120,
        "left": ["fc.bias", "fc.weight"],
    }
    assert failures.run(app, [*line, "--set", "depth=10", "--out", str(tmp_path / "c")]) == 4
    assert "is superfluous" in capfd.readouterr().err
