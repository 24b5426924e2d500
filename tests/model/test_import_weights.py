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
from vidssl_plugins.backbones.hooks import C3D, MC3, R3D, S3DG, R2Plus1D
from vidssl_plugins.backbones.s3dg import MODULES

KINDS = {"r3d": R3D, "r2plus1d": R2Plus1D, "mc3": MC3}


def norm(name, channels):
    vectors = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{v}": (channels,) for v in vectors} | {f"{name}.num_batches_tracked": ()}


def conv(kind, name, before, after, middle):
    if kind != "r2plus1d":
        time = 1 if kind == "mc3" and "layer1" not in name else 3
        return {f"{name}.weight": (after, before, time, 3, 3)}
    space, time = (middle, before, 1, 3, 3), (after, middle, 3, 1, 1)
    return {f"{name}.0.weight": space, **norm(f"{name}.1", middle), f"{name}.3.weight": time}


def torchvision(kind, width=64):
    """Names and shapes of r3d_18, r2plus1d_18 or mc3_18, in files as torchvision publishes them."""
    if kind != "r2plus1d":
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


def s3d(width=64):
    """Names and shapes of torchvision's s3d."""

    def conv(name, before, after, *kernel):
        return {f"{name}.0.weight": (after, before, *kernel), **norm(f"{name}.1", after)}

    def separable(name, before, after, side=3):
        time = conv(f"{name}.1", after, after, side, 1, 1)
        return conv(f"{name}.0", before, after, 1, side, side) | time

    point = (1, 1, 1)
    shapes = separable("features.0", 3, width, 7) | conv("features.2", width, width, *point)
    shapes |= separable("features.3", width, 3 * width)
    before, numbers = 3 * width, iter((5, 6, 8, 9, 10, 11, 12, 14, 15))
    for full in (module for stage in MODULES for module in stage):
        name = f"features.{next(numbers)}"
        alone, wide_in, wide, narrow_in, narrow, pooled = (max(1, w * width // 64) for w in full)
        shapes |= conv(f"{name}.branch0", before, alone, *point)
        for branch, within, after in ((1, wide_in, wide), (2, narrow_in, narrow)):
            shapes |= conv(f"{name}.branch{branch}.0", before, within, *point)
            shapes |= separable(f"{name}.branch{branch}.1", within, after)
        shapes |= conv(f"{name}.branch3.1", before, pooled, *point)
        before = alone + wide + narrow + pooled
    return shapes | {"classifier.1.weight": (400, before, *point), "classifier.1.bias": (400,)}


def s3d_reference(w, x):
    """Compute what torchvision's s3d does in evaluation up to its last average."""

    def conv(x, name, stride=1):
        weight = w[f"{name}.0.weight"]
        kernel = weight.shape[2:]
        strides = [stride if size > 1 else 1 for size in kernel]
        x = F.conv3d(x, weight, None, strides, [size // 2 for size in kernel])
        mean, var = w[f"{name}.1.running_mean"], w[f"{name}.1.running_var"]
        scale, shift = w[f"{name}.1.weight"], w[f"{name}.1.bias"]
        return F.relu(F.batch_norm(x, mean, var, scale, shift, eps=0.001))

    def separable(x, name, stride=1):
        return conv(conv(x, f"{name}.0", stride), f"{name}.1", stride)

    def inception(x, number):
        name = f"features.{number}"
        middle = [separable(conv(x, f"{name}.branch{b}.0"), f"{name}.branch{b}.1") for b in (1, 2)]
        pooled = conv(F.max_pool3d(x, 3, 1, 1), f"{name}.branch3.1")
        return torch.cat([conv(x, f"{name}.branch0"), *middle, pooled], 1)

    def pool(x):
        return F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))

    x = pool(separable(x, "features.0", 2))
    x = pool(separable(conv(x, "features.2"), "features.3"))
    x = F.max_pool3d(inception(inception(x, 5), 6), 3, 2, 1)
    for number in range(8, 13):
        x = inception(x, number)
    return inception(inception(F.max_pool3d(x, 2, 2), 14), 15).mean((2, 3, 4))


def weights(kind, width=4):
    """Return random weights under torchvision's names."""
    generator = torch.Generator().manual_seed(0)

    def draw(name, shape):
        if name.endswith("tracked"):
            return torch.tensor(7)
        if len(shape) == 1:
            return torch.rand(shape, generator=generator) + 0.5
        return torch.randn(shape, generator=generator) / (torch.tensor(shape[1:]).prod() ** 0.5)

    shapes = s3d(width) if kind == "s3dg" else torchvision(kind, width)
    return {name: draw(name, shape) for name, shape in shapes.items()}


def reference(kind, w, x):
    """Compute what torchvision's networks do in evaluation, from their names."""

    def bn(x, name):
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, w[f"{name}.weight"], w[f"{name}.bias"])

    def conv(x, name, stride):
        if kind != "r2plus1d":
            weight = w[f"{name}.weight"]
            if weight.shape[2] == 1:
                return F.conv3d(x, weight, None, (1, stride, stride), (0, 1, 1))
            return F.conv3d(x, weight, stride=stride, padding=1)
        space, time = ((1, stride, stride), (0, 1, 1)), ((stride, 1, 1), (1, 0, 0))
        x = F.relu(bn(F.conv3d(x, w[f"{name}.0.weight"], None, *space), f"{name}.1"))
        return F.conv3d(x, w[f"{name}.3.weight"], None, *time)

    if kind != "r2plus1d":
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
                pace = (1, stride, stride) if kind == "mc3" else stride
                x = F.conv3d(x, w[f"{name}.downsample.0.weight"], stride=pace)
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


def test_all_of_s3d_lands_in_its_place():
    with torch.device("meta"):
        own = S3DG(**S3DG.public.options, name="s3dg").build().state_dict()
    public = S3DG.public
    shapes = {name: s for name, s in s3d().items() if not name.startswith("classifier")}
    assert {own_name(n, public): s for n, s in shapes.items()} == {
        name: tuple(tensor.shape) for name, tensor in own.items()
    }


def test_s3d_computes_what_it_was_trained_to(tmp_path):
    """Its options follow from the weights: no gates, and torchvision's norms."""
    save_file(weights("s3dg"), tmp_path / "s3d.safetensors")
    import_weights(tmp_path / "s3d.safetensors", S3DG(name="s3dg", width=4), tmp_path / "run")
    encoder = Encoder.load(tmp_path / "run", "cpu")
    assert encoder.card.backbone.norm.eps == 0.001
    assert (encoder.card.input.resize, encoder.card.input.crop) == ((256, 256), 224)
    clips = torch.randn(2, 3, 16, 64, 64)
    with torch.inference_mode():
        expected = s3d_reference(weights("s3dg"), clips)
        torch.testing.assert_close(encoder.backbone(clips)["feat"], expected)


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
    monkeypatch.setattr("vidssl_cli.model.public_files.check_weights", lambda file: None)
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
    assert "mc3, r2plus1d, r3d, s3dg" in found.value.hint
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
        "licence": "",
    }
    assert failures.run(app, [*line, "--set", "depth=10", "--out", str(tmp_path / "c")]) == 4
    assert "is superfluous" in capfd.readouterr().err
