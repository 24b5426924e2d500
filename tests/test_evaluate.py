"""`vidssl evaluate`: the run beside random weights, chance and published figures."""

import json
from dataclasses import replace

import pytest

from vidssl_cli.embed import Encoder
from vidssl_cli.errors import UsageError, VidsslError
from vidssl_cli.evaluate import as_json, evaluate, show
from vidssl_cli.held_out import own_task
from vidssl_cli.pretrain import Session, pretrain
from vidssl_cli.recipe import PretrainRecipe, Published
from vidssl_plugins.evaluators.hooks import Linear, Pretext, Retrieval


@pytest.fixture(scope="module")
def run(toy_videos, toy_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    return out


@pytest.fixture(scope="module")
def encoder(run):
    return Encoder.load(run, "cpu")


def test_rows_for_run_and_random_weights(encoder, toy_videos, tmp_path):
    options = Retrieval(name="retrieval")
    report = evaluate(encoder, toy_videos, options, tmp_path)
    document = as_json(options, report)
    assert document["evaluator"] == "retrieval"
    assert [row["weights"] for row in document["rows"]] == ["run", "random"]
    assert all(0 <= row["top1"] <= row["top5"] <= 1 for row in document["rows"])
    assert 0 < document["chance"] < 1
    assert json.loads((tmp_path / "report.json").read_text()) == document
    again = evaluate(encoder, toy_videos, options, None)
    assert again.rows == report.rows


def test_a_published_row_stands_beside_ours(encoder, toy_videos, capsys):
    options = Retrieval(name="retrieval")
    report = evaluate(encoder, toy_videos, options, None)
    entry = Published(
        source="Table 9", evaluator="retrieval", dataset="UCF101", figures={"top1": 0.238}
    )
    other = entry.model_copy(update={"evaluator": "linear", "source": "Table 8"})
    show(options, report, [entry, other])
    printed = capsys.readouterr().out
    assert "23.8" in printed
    assert "Table 9" in printed
    assert "Table 8" not in printed


def test_data_without_splits_is_refused(encoder, toy_videos):
    with pytest.raises(UsageError, match="has a label and the split 'test'"):
        evaluate(encoder, toy_videos[:8], Retrieval(name="retrieval"), None)


def test_an_unreadable_video_is_an_error_not_another_figure(encoder, toy_videos, tmp_path):
    videos = [*toy_videos[:-1], replace(toy_videos[-1], path=str(tmp_path / "lost.mp4"))]
    with pytest.raises(VidsslError, match="1 videos cannot be read"):
        evaluate(encoder, videos, Retrieval(name="retrieval"), None)


def test_a_linear_probe_of_run_and_random_weights(encoder, toy_videos):
    report = evaluate(encoder, toy_videos, Linear(name="linear", penalties=[0.1]))
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    assert 0 < report.chance < 1
    assert report.facts["tap"] == encoder.evaluation.tap


def test_own_task_on_held_out_videos(run, encoder, toy_videos):
    unlabelled = [replace(video, label=None) for video in toy_videos]
    report = evaluate(encoder, unlabelled, Pretext(name="pretext"), run=run)
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    assert {"pace.accuracy", "same_context.accuracy"} <= report.rows[0].keys()
    assert "pace.loss" in report.tables[0].columns
    assert evaluate(encoder, unlabelled, Pretext(name="pretext"), run=run).rows == report.rows


def test_own_task_on_videos_that_do_not_fill_couples(toy_videos, toy_recipe, tmp_path):
    sampler = {"name": "time_equivariant", "frames": 8, "speeds": [0]}
    changes = {"sampler": sampler, "pretext": {"name": "equivariance"}}
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1) | changes)
    pretrain(recipe, toy_videos, Session(tmp_path / "run", device="cpu"))
    found = own_task(tmp_path / "run", toy_videos[:3], trained=True, device="cpu")
    assert found["equivariance.loss"] >= 0
    alone = own_task(tmp_path / "run", toy_videos[:1], trained=True, device="cpu")
    assert alone["equivariance.loss"] == 0  # one couple has no rival


def test_an_exported_model_has_no_own_task(encoder, toy_videos, tmp_path):
    encoder.export(tmp_path / "model")
    with pytest.raises(UsageError, match="no pretext tasks any more"):
        evaluate(encoder, toy_videos, Pretext(name="pretext"), run=tmp_path / "model")
