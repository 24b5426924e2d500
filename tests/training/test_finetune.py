"""Fine-tuning: a classifier learns, a frozen backbone stays, splits and labels are checked."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from vidssl_cli.base.errors import Preempted, UsageError, VidsslError
from vidssl_cli.config.known_datasets import NOTHING
from vidssl_cli.config.load import load
from vidssl_cli.config.recipe import FinetuneRecipe, PretrainRecipe
from vidssl_cli.contract.batch_norm import SyncBatchNorm1d
from vidssl_cli.contract.metrics import Predictions
from vidssl_cli.files import sealed_json
from vidssl_cli.model import run_directory
from vidssl_cli.model.classifier import Classifier
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.model.weights import read_tensors
from vidssl_cli.training.finetune import finetune
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session


@pytest.fixture(scope="module")
def source(toy_videos, toy_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("source") / "run"
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    return out


def recipe(toy_recipe, epochs=2, **changes):
    optimizer = {"name": "adamw", "lr": 3e-3}
    return FinetuneRecipe.model_validate(
        {
            "task": "finetune",
            "sampler": {"name": "uniform", "frames": 8, "views": 2},
            "evaluation": {"clips": 2},
            "train": toy_recipe(epochs=epochs, optimizer=optimizer)["train"],
        }
        | changes
    )


def test_a_classifier_learns_what_moves(source, toy_recipe, toy_videos, tmp_path):
    """Noise that rolls 1, 2 or 3 pixels a frame: motion tells the classes, a picture does not."""
    out = tmp_path / "run"
    report = finetune(recipe(toy_recipe, epochs=40), toy_videos, source, Session(out, device="cpu"))
    assert report["classes"] == ["class 0", "class 1", "class 2"]
    assert report["chance"] == pytest.approx(1 / 3)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if "epoch.loss" in row]
    assert epochs[-1]["epoch.loss"] < 0.7 * epochs[0]["epoch.loss"]
    late = [row["epoch.class.accuracy"] for row in epochs[-10:]]
    assert sum(late) / len(late) > 0.6  # chance is a third
    assert {row["checkpoint"] for row in report["rows"]} == {"last", "best"}
    assert sealed_json.read(out / "report.json", "") == report | {
        "run": run_directory.identify(out)
    }
    best = max(row["epoch.video_accuracy"] for row in epochs)
    assert report["rows"][1]["video_accuracy"] == pytest.approx(best)
    for row in report["rows"]:
        counts = np.array(row["confusion"])
        assert counts.sum(1).tolist() == [1, 1, 2]  # of four videos to test
        assert counts.trace() / counts.sum() == row["video_accuracy"]
        assert row["class_accuracy"] == (counts.diagonal() / counts.sum(1)).tolist()


@pytest.mark.parametrize(
    ("evaluation", "shape"),
    [({"clips": 3}, (3, 8)), ({"clips": 4, "windows": "dense", "stride": 2}, (5, 8)),
     ({"windows": "overlap", "hop": 16, "crops": "three"}, (9, 8))],
)  # fmt: skip
def test_clips_and_crops_of_the_test(
    evaluation, shape, source, toy_recipe, toy_videos, tmp_path, monkeypatch
):
    shown = set()
    taps_of = Encoder.taps_of

    def watch(self, clips):
        shown.add((len(clips), clips.shape[2]))
        return taps_of(self, clips)

    monkeypatch.setattr(Encoder, "taps_of", watch)
    chosen = recipe(toy_recipe, epochs=1, evaluation=evaluation)
    finetune(chosen, toy_videos, source, Session(tmp_path / "run", device="cpu"))
    assert shown == {shape}


@pytest.mark.parametrize("tested", [None, 1])
def test_a_classifier_is_tested_at_the_stride_of_training_or_it_is_said(
    tested, source, toy_recipe, toy_videos, tmp_path, capfd
):
    chosen = recipe(
        toy_recipe,
        epochs=1,
        sampler={"name": "uniform", "frames": 8, "stride": 2},
        evaluation={"clips": 2} | ({"stride": tested} if tested else {}),
    )
    session = Session(tmp_path / "run", device="cpu", dataset="UCF101")
    report = finetune(chosen, toy_videos, source, session)
    kept = load(tmp_path / "run" / "recipe.yaml")
    assert kept.evaluation.stride == (tested or 2)
    assert Encoder.load(tmp_path / "run", "cpu").evaluation.stride == (tested or 2)
    warned = "trained on clips of stride 2 and tested on clips of stride 1"
    assert (warned in capfd.readouterr().err) == (tested == 1)
    assert report["published"]
    for row in report["published"]:
        assert ("one stride, not 2 in training and 1 in test" in row["differs"]) == (tested == 1)


def test_a_classifier_that_is_loaded_predicts_what_was_reported(
    source, toy_recipe, toy_videos, tmp_path
):
    out, test = tmp_path / "run", [video for video in toy_videos if video.split == "test"]
    report = finetune(
        recipe(toy_recipe, hidden=[4]), toy_videos, source, Session(out, device="cpu")
    )
    for row in report["rows"]:
        encoder = Encoder.load(out, "cpu", row["checkpoint"])
        classifier = Classifier.load(out, encoder, row["checkpoint"])
        videos, features = zip(*classifier.read(test, []), strict=True)
        labels = classifier.numbers(videos)
        predictions = Predictions(classifier.learner.classify(features), labels, 3)
        assert predictions.confusion().tolist() == row["confusion"]
        assert predictions.accuracies()["clip_accuracy"] == row["clip_accuracy"]
    assert Classifier.load(source, Encoder.load(source, "cpu")) is None
    encoder.export(tmp_path / "model")
    assert Classifier.load(tmp_path / "model", Encoder.load(tmp_path / "model", "cpu")) is None


@pytest.mark.parametrize("freeze", [True, False])
def test_a_frozen_backbone_keeps_its_weights_and_statistics(
    freeze, source, toy_recipe, toy_videos, tmp_path
):
    out = tmp_path / "run"
    chosen = recipe(toy_recipe, freeze=freeze, hidden=[16], dropout=0.5)
    finetune(chosen, toy_videos, source, Session(out, device="cpu"))
    before = Encoder.load(source, "cpu").backbone.state_dict()
    after = Encoder.load(out, "cpu").backbone.state_dict()
    same = all(torch.equal(before[name], after[name]) for name in before)
    assert same == freeze
    heads = [k for k in read_tensors((out / "checkpoints/last").resolve()) if "classifier" in k]
    assert len(heads) == 4


@pytest.fixture(scope="module")
def headed(toy_videos, toy_recipe, tmp_path_factory):
    """A run whose head has hidden layers with batch norm."""
    out = tmp_path_factory.mktemp("headed") / "run"
    pretext = {"name": "pace", "hidden": [6, 5], "norm": True}
    chosen = PretrainRecipe.model_validate(toy_recipe(epochs=1) | {"pretext": pretext})
    pretrain(chosen, toy_videos, Session(out, device="cpu"))
    return out


HIDDEN = {"hidden": [6, 5], "hidden_norm": True}


@pytest.fixture
def begun(monkeypatch):
    """Tensors of a classifier as its training begins."""
    from vidssl_cli.training import finetune as module

    found, fit = {}, module.fit

    def watch(learner, *args, **kwargs):
        found.update({k: v.clone() for k, v in learner.classifier.state_dict().items()})
        fit(learner, *args, **kwargs)

    monkeypatch.setattr(module, "fit", watch)
    return found


@pytest.mark.parametrize("dropout", [0, 0.5])
def test_hidden_layers_of_the_network_are_carried_into_transfer(
    dropout, headed, toy_recipe, toy_videos, tmp_path, begun
):
    """All but the last layer, with the statistics of their norms; none from scratch."""
    chosen = recipe(toy_recipe, epochs=1, heads="run", dropout=dropout, **HIDDEN)
    trained = read_tensors((headed / "checkpoints/last").resolve())
    for scratch in (False, True):
        session = Session(tmp_path / str(scratch), device="cpu")
        finetune(chosen, toy_videos, headed, session, scratch=scratch)
        own = dict(begun)
        last = "7." if dropout else "6."
        hidden = {name for name in own if not name.startswith(last)}
        assert {name.split(".")[0] for name in hidden} == {"0", "1", "3", "4"}
        same = {name: torch.equal(own[name], trained[f"pretexts.0.head.{name}"]) for name in hidden}
        assert set(same.values()) == {True} or scratch
        assert not (scratch and same["0.weight"])
        assert own[f"{last}weight"].shape == (3, 5)
    assert own["1.running_var"].shape == (6,)


def test_hidden_layers_of_a_classifier_are_carried_too(
    headed, toy_recipe, toy_videos, tmp_path, begun
):
    """Supervised pre-training, whose classes are others."""
    labels, out = recipe(toy_recipe, epochs=1, dropout=0.5, **HIDDEN), tmp_path / "labels"
    finetune(labels, toy_videos, headed, Session(out, device="cpu"))
    trained = read_tensors((out / "checkpoints/last").resolve())
    renamed = [replace(video, label=f"other {video.label}") for video in toy_videos]
    chosen = recipe(toy_recipe, epochs=1, heads="run", **HIDDEN)
    finetune(chosen, renamed, out, Session(tmp_path / "run", device="cpu"))
    for name in ("0.weight", "1.running_mean", "4.bias"):
        assert torch.equal(begun[name], trained[f"classifier.{name}"])
    assert not torch.equal(begun["6.weight"], trained["classifier.7.weight"])


def test_a_classifier_with_norms_is_loaded_as_it_was_measured(
    headed, toy_recipe, toy_videos, tmp_path
):
    out, test = tmp_path / "run", [video for video in toy_videos if video.split == "test"]
    chosen = recipe(toy_recipe, heads="run", dropout=0.5, **HIDDEN)
    report = finetune(chosen, toy_videos, headed, Session(out, device="cpu"))
    classifier = Classifier.load(out, Encoder.load(out, "cpu"))
    assert isinstance(classifier.learner.classifier[1], SyncBatchNorm1d)
    videos, features = zip(*classifier.read(test, []), strict=True)
    labels = classifier.numbers(videos)
    predictions = Predictions(classifier.learner.classify(features), labels, 3)
    assert predictions.confusion().tolist() == report["rows"][0]["confusion"]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"hidden": [6]}, r"3.weight is not there, and \(5, 6\) in the run"),
        ({"hidden": [7, 5]}, r"0.weight is \(7, 32\), and \(6, 32\) in the run"),
        ({"hidden_norm": False}, r"2.weight is \(5, 6\), and missing in the run"),
    ],
)
def test_heads_that_do_not_fit_are_refused(
    changes, found, headed, toy_recipe, toy_videos, tmp_path
):
    chosen = recipe(toy_recipe, heads="run", **(HIDDEN | changes))
    with pytest.raises(UsageError, match=found) as refused:
        finetune(chosen, toy_videos, headed, Session(tmp_path / "run", device="cpu"))
    assert refused.value.where == str(headed)
    assert "heads=fresh" in refused.value.hint
    assert not (tmp_path / "run").exists()


def test_heads_are_those_of_a_pre_training_that_read_feat(
    headed, source, toy_recipe, toy_videos, tmp_path
):
    chosen = recipe(toy_recipe, heads="run", **HIDDEN)
    Encoder.load(headed, "cpu").export(tmp_path / "model")
    session = Session(tmp_path / "run", device="cpu")
    with pytest.raises(UsageError, match="model is an exported model"):
        finetune(chosen, toy_videos, tmp_path / "model", session)
    with pytest.raises(UsageError, match=r"0.weight is \(6, 32\), and missing in the run"):
        finetune(chosen, toy_videos, source, session)  # one layer, which is the last
    pretext = {"name": "pace", "hidden": [6, 5], "norm": True, "tap": "conv5"}
    other = PretrainRecipe.model_validate(toy_recipe(epochs=1) | {"pretext": pretext})
    pretrain(other, toy_videos, Session(tmp_path / "other", device="cpu"))
    with pytest.raises(UsageError, match="reads conv5, a classifier reads feat"):
        finetune(chosen, toy_videos, tmp_path / "other", session)
    with pytest.raises(ValidationError, match="hidden has none"):
        recipe(toy_recipe, heads="run")


def test_a_signal_cuts_a_measurement_short_and_it_is_made_again(
    source, toy_recipe, toy_videos, tmp_path, monkeypatch
):
    chosen, whole, cut = recipe(toy_recipe, dropout=0.5), tmp_path / "whole", tmp_path / "cut"
    expected = finetune(chosen, toy_videos, source, Session(whole, device="cpu"))

    def interrupted(*_):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("it went on measuring")

    with monkeypatch.context() as patch:
        patch.setattr("vidssl_cli.model.classifier.Classifier.read", interrupted)
        with pytest.raises(Preempted, match="after step 2"):
            finetune(chosen, toy_videos, source, Session(cut, device="cpu"))
    last = cut / "checkpoints" / "last"
    state = json.loads((last / "state.json").read_text())
    assert (state["epoch"], state["epoch_step"], state["step"]) == (0, 2, 2)
    # It was measured then, but the process was killed before it could save.
    with (cut / "metrics.jsonl").open("a") as log:
        log.write('{"step": 2, "epoch": 0, "epoch.loss": 1.0}\n')
    session = Session(cut, device="cpu", resume=True)
    assert finetune(chosen, toy_videos, source, session) == expected
    one, other = (read_tensors((run / "checkpoints/last").resolve()) for run in (whole, cut))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert (cut / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()


def test_scratch_starts_from_random_weights_of_its_own_seed(
    source, toy_recipe, toy_videos, tmp_path, capfd
):
    found = set()
    for seed in (0, 1):
        chosen = recipe(toy_recipe, epochs=1, freeze=True)
        chosen = chosen.model_copy(update={"train": chosen.train.model_copy(update={"seed": seed})})
        out = tmp_path / str(seed)
        session = Session(out, device="cpu", dataset="UCF101", split=2)
        report = finetune(chosen, toy_videos, source, session, scratch=True)
        again = Encoder.load(out, "cpu")
        assert again.card.pretraining == NOTHING
        told = capfd.readouterr().err
        assert f"backbone: random weights, the network of {source}" in told
        assert "tensors from" not in told
        assert again.digest == again.randomised().digest
        found.add(again.digest)
    assert len(found) == 2
    assert Encoder.load(source, "cpu").digest not in found
    beside = {row["key"]: row["differs"] for row in report["published"]}
    assert "split 1, not 2" in beside["wang-2020/backbones/random-r3d-18"]
    assert not any("pre-train" in text for text in beside["wang-2020/backbones/random-r3d-18"])
    trained = "pre-trained on UCF101, not random weights"
    assert trained in beside["wang-2020/backbones/statistics-r3d-18"]


def test_missing_splits_and_untrained_classes_are_refused(source, toy_recipe, toy_videos, tmp_path):
    session = Session(tmp_path / "run", device="cpu")
    unlabelled = [replace(video, label=None) for video in toy_videos]
    with pytest.raises(UsageError, match="has a label and the split 'train'"):
        finetune(recipe(toy_recipe), unlabelled, source, session)
    odd = [*toy_videos[:-1], replace(toy_videos[-1], label="never seen")]
    with pytest.raises(UsageError, match="never trained: \\['never seen'\\]"):
        finetune(recipe(toy_recipe), odd, source, session)
    assert not (tmp_path / "run").exists()


def test_what_it_starts_from_stays_and_stays_the_same(source, toy_recipe, toy_videos, tmp_path):
    with pytest.raises(UsageError, match="would throw away"):
        finetune(
            recipe(toy_recipe), toy_videos, source, Session(source, device="cpu", overwrite=True)
        )
    out = tmp_path / "run"
    finetune(recipe(toy_recipe, epochs=1), toy_videos, source, Session(out, device="cpu"))
    session = Session(out, device="cpu", resume=True)
    with pytest.raises(UsageError, match="begun from other weights"):
        finetune(recipe(toy_recipe, epochs=1), toy_videos, source, session, scratch=True)
    finetune(recipe(toy_recipe, epochs=1), toy_videos, source, session)


def test_unreadable_test_videos_are_told(source, toy_recipe, toy_videos, tmp_path):
    lost = replace(toy_videos[-1], path=str(tmp_path / "lost.mp4"))
    data = [video for video in toy_videos if video.split == "train"]
    with pytest.raises(VidsslError, match="none of the 1 videos to measure with"):
        finetune(
            recipe(toy_recipe, epochs=1),
            [*data, lost],
            source,
            Session(tmp_path / "run", device="cpu"),
        )


def test_figures_say_of_how_many_videos_they_are(source, toy_recipe, toy_videos, tmp_path):
    """One test video is lost after the scan, and three are left out by it."""
    left_out = [
        replace(video, path=f"/{number}.mp4")
        for number, video in enumerate((toy_videos[0], *toy_videos[-2:]))
    ]
    lost = replace(toy_videos[-1], path=str(tmp_path / "lost.mp4"))
    session = Session(tmp_path / "run", device="cpu", dataset="UCF101")
    report = finetune(
        recipe(toy_recipe, epochs=1), [*toy_videos, lost], source, session, left_out=left_out
    )
    assert report["left_out"] == {"train": {"used": 8, "of": 9}, "test": {"used": 4, "of": 7}}
    assert report["published"]
    for row in report["published"]:
        assert "all test videos, not 4 of 7" in row["differs"]
