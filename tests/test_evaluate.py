"""`vidssl evaluate`: the run beside random weights, chance and published figures."""

import json
from dataclasses import replace

import pytest

from vidssl_cli.embed import Encoder
from vidssl_cli.errors import UsageError, VidsslError
from vidssl_cli.evaluate import as_json, evaluate, show
from vidssl_cli.pretrain import Session, pretrain
from vidssl_cli.recipe import PretrainRecipe, Published
from vidssl_plugins.evaluators.hooks import Retrieval


@pytest.fixture(scope="module")
def encoder(toy_videos, toy_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    return Encoder.load(out, "cpu")


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
