"""The projection of a pretext task is kept with the network, as a tap."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vidssl_cli.base.errors import DamagedFileError, UsageError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as run_cli
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.files import sealed_folder
from vidssl_cli.model.card import KeptProjection
from vidssl_cli.model.embedding import embed
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.weights import read_tensors
from vidssl_cli.training.finetune import finetune
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session

PRETEXTS = [
    {"name": "pace"},
    {"name": "same_context", "proj_dim": 6, "proj_hidden": [5], "proj_norm": True},
]


def pretrained(toy_recipe, toy_videos, out, pretext=PRETEXTS, tap="projection"):
    recipe = toy_recipe(epochs=1) | {"pretext": pretext, "evaluation": {"clips": 3, "tap": tap}}
    pretrain(PretrainRecipe.model_validate(recipe), toy_videos, Session(out, device="cpu"))
    return out


@pytest.fixture(scope="module")
def run(toy_videos, toy_recipe, tmp_path_factory):
    return pretrained(toy_recipe, toy_videos, tmp_path_factory.mktemp("projected") / "run")


@pytest.fixture
def encoder(run):
    return Encoder.load(run, "cpu")


def features(encoder, videos, **changes):
    evaluation = encoder.evaluation.model_copy(update=changes)
    return np.stack([v.features for v in embed(encoder, videos, evaluation=evaluation, skipped=[])])


def test_the_tap_is_what_the_pretext_task_compares(run, encoder, toy_videos):
    assert encoder.card.projection == KeptProjection(
        pretext=1, tap="feat", hidden=(5,), dim=6, norm=True
    )
    assert encoder.taps["projection"] == 6
    own = read_tensors((run / "checkpoints/last").resolve())
    weights = {
        name.removeprefix("pretexts.1.projection."): tensor
        for name, tensor in own.items()
        if name.startswith("pretexts.1.projection.")
    }
    read = torch.from_numpy(features(encoder, toy_videos[:2], tap="feat").reshape(6, -1))
    x = F.linear(read, weights["0.weight"], weights["0.bias"])
    mean, var = weights["1.running_mean"], weights["1.running_var"]
    x = F.batch_norm(x, mean, var, weights["1.weight"], weights["1.bias"]).relu()
    expected = F.linear(x, weights["3.weight"], weights["3.bias"]).numpy()
    found = features(encoder, toy_videos[:2]).reshape(6, 6)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("proj", [{"proj_dim": None}, {"proj_dim": 4}])
def test_without_hidden_layers(proj, toy_recipe, toy_videos, tmp_path):
    """One layer with ReLU; the tap itself, which has nothing to keep."""
    pretext = [{"name": "same_context"} | proj]
    out = pretrained(toy_recipe, toy_videos, tmp_path / "run", pretext, tap="feat")
    encoder = Encoder.load(out, "cpu")
    assert ("projection" in encoder.taps) == (proj["proj_dim"] is not None)
    if proj["proj_dim"]:
        assert features(encoder, toy_videos[:2], tap="projection").min() >= 0


def test_an_exported_model_has_it_too(encoder, toy_videos, tmp_path):
    encoder.export(tmp_path / "model")
    again = Encoder.load(tmp_path / "model", "cpu")
    assert again.digest == encoder.digest
    one, other = (features(each, toy_videos[:2]) for each in (encoder, again))
    np.testing.assert_array_equal(one, other)
    (tmp_path / "model" / "projection.safetensors").unlink()
    with pytest.raises(DamagedFileError):
        Encoder.load(tmp_path / "model", "cpu")


def test_a_model_of_before_has_none_and_loads(encoder, toy_videos, tmp_path):
    """Its card does not know the key, and the folder has one file of weights."""

    def write(draft):
        encoder.export(tmp_path / "new")
        (draft / "model.safetensors").write_bytes(
            (tmp_path / "new" / "model.safetensors").read_bytes()
        )
        card = json.loads((tmp_path / "new" / "model.json").read_text())
        del card["projection"]
        card["evaluation"]["tap"] = "feat"
        (draft / "model.json").write_text(json.dumps(card))

    sealed_folder.publish(tmp_path / "old", write)
    old = Encoder.load(tmp_path / "old", "cpu")
    assert "projection" not in old.taps
    np.testing.assert_array_equal(
        features(old, toy_videos[:2]), features(encoder, toy_videos[:2], tap="feat")
    )
    with pytest.raises(UsageError, match="no tap 'projection'"):
        features(old, toy_videos[:2], tap="projection")


def test_a_card_that_asks_for_more_than_its_weights_is_refused(encoder, tmp_path):
    encoder.export(tmp_path / "model")

    def write(draft):
        for file in ("model.safetensors", "projection.safetensors", "model.json"):
            (draft / file).write_bytes((tmp_path / "model" / file).read_bytes())
        card = json.loads((draft / "model.json").read_text())
        card["projection"]["hidden"] = [10**9]
        (draft / "model.json").write_text(json.dumps(card))

    sealed_folder.publish(tmp_path / "greedy", write)
    with pytest.raises(DamagedFileError, match="much larger than its weights"):
        Encoder.load(tmp_path / "greedy", "cpu")


def test_it_belongs_to_the_digest_and_to_random_weights(encoder, toy_videos):
    before, random = encoder.digest, encoder.randomised()
    assert random.digest == encoder.randomised().digest != before
    assert random.taps == encoder.taps
    assert not torch.equal(random.projection[0].weight, encoder.projection[0].weight)
    random.calibrate(toy_videos, [])
    assert random.projection[1].running_mean.abs().sum() > 0
    assert not random.projection.training
    with torch.no_grad():
        encoder.projection[0].bias += 1
    assert encoder.digest != before


def test_fine_tuning_leaves_it_behind(run, toy_recipe, toy_videos, tmp_path):
    recipe = {
        "task": "finetune",
        "sampler": {"name": "uniform", "frames": 8},
        "train": toy_recipe(epochs=1)["train"],
    }
    session = Session(tmp_path / "run", device="cpu")
    asked = FinetuneRecipe.model_validate(recipe | {"evaluation": {"tap": "projection"}})
    with pytest.raises(UsageError, match="no tap 'projection'"):
        finetune(asked, toy_videos, run, session)
    asked = FinetuneRecipe.model_validate(recipe | {"evaluation": {"clips": 2}})
    finetune(asked, toy_videos, run, session)
    assert "projection" not in Encoder.load(tmp_path / "run", "cpu").taps


def test_a_recipe_without_one_cannot_ask_for_it(toy_recipe, toy_videos, tmp_path):
    with pytest.raises(UsageError, match="no tap 'projection'"):
        pretrained(toy_recipe, toy_videos, tmp_path / "run", [{"name": "pace"}])


def test_commands_read_it(run, toy_videos, tmp_path, capfd):
    """evaluate, with SSTL's protocol and by default; index and retrieve; visualize."""
    manifest, index = tmp_path / "videos.jsonl", tmp_path / "index"
    write_manifest(manifest, toy_videos)
    query, cpu = toy_videos[0].path, ["--device", "cpu"]
    evaluation = ["evaluate", str(run), "--data", str(manifest), "--json", *cpu]
    for options in ([], ["--set", "preset=sstl"]):
        assert run_cli(app, [*evaluation, *options]) == 0
        facts = json.loads(capfd.readouterr().out)["facts"]
        assert facts["tap"] == "projection"
    assert (
        run_cli(app, ["index", str(run), "--data", str(manifest), "--out", str(index), *cpu]) == 0
    )
    capfd.readouterr()
    assert run_cli(app, ["retrieve", str(index), query, "--json", *cpu]) == 0
    best = json.loads(capfd.readouterr().out)["queries"][0]["hits"][0]
    assert best["score"] == pytest.approx(1, abs=1e-4)
    out = ["--out", str(tmp_path / "drawn"), "--method", "guided_backprop"]
    assert run_cli(app, ["visualize", str(run), query, *out, *cpu]) == 0
