"""`vidssl evaluate`: the run beside random weights, chance and published figures."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from vidssl_cli.base.errors import DamagedFileError, UsageError, VidsslError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import DataSet
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.reports import Curves, Report
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation import baselines
from vidssl_cli.evaluation.evaluate import as_json, evaluate, show
from vidssl_cli.evaluation.feature_cache import Pass, Shelf
from vidssl_cli.evaluation.held_out import pretext_scores
from vidssl_cli.evaluation.study import EncoderStudy
from vidssl_cli.media.probe import probe
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.pages.charts import curves, draw_all
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.evaluators.hooks import (
    KNN,
    Health,
    Invariance,
    Linear,
    Pretext,
    Retrieval,
    Still,
)


@pytest.fixture(scope="module")
def run(toy_videos, toy_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos, Session(out, device="cpu", dataset="UCF101"))
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
    written = json.loads((tmp_path / "report.json").read_text())
    assert json.loads(json.dumps(document)).items() <= written.items()
    assert written["network"]["backbone"]["name"] == "r3d"
    again = evaluate(encoder, toy_videos, options, None)
    assert again.rows == report.rows


class Drawn(EvaluatorOptions):
    """Finds a curve, whatever it looks at."""

    def build(self):
        """Return the evaluator."""
        curve = Curves("Recall", "k", "recall", {"run": [(1, 0.5), (5, 0.75)]})
        return lambda study: Report([{"weights": "run", "top1": 0.5}], 0.5, figures=[curve])


def test_figures_lie_beside_the_report(encoder, toy_videos, tmp_path):
    report = evaluate(encoder, toy_videos, Drawn(name="drawn"), tmp_path)
    draw_all(tmp_path, report.figures)
    drawn = (tmp_path / "figure-1-recall.svg").read_text()
    (figure,) = json.loads((tmp_path / "report.json").read_text())["figures"]
    assert drawn == curves(Curves(**{k: v for k, v in figure.items() if k != "kind"}))


def test_published_rows_stand_beside_ours_with_what_differs(encoder, toy_videos, tmp_path, capsys):
    options = Retrieval(name="retrieval")
    known = DataSet(name="UCF101", classes=3, of=101)
    report = evaluate(encoder, toy_videos, options, tmp_path, dataset=known, split=2)
    show(options, report)
    printed = capsys.readouterr().out
    assert "published on UCF101, percent" in printed
    assert "vidssl published --evaluator retrieval --dataset UCF101" in printed
    told = " ".join(printed.split())
    for difference in (
        "width 64, not 4",
        "pre-trained on UCF101, not on 3 of its 101 classes",
        "all classes, not 3 of 101",
        "split 1, not 2",
        "input 112 x 112, not 16",
        "RGB, not residual frames",
        "10 clips, not 3",
    ):
        assert difference in told
    (first, *_) = json.loads((tmp_path / "report.json").read_text())["published"]
    assert first["figures"]["top1"] < 1
    assert first["differs"]


@pytest.fixture
def lost():
    """Videos that cannot be used: two of the test split, one of them without a label."""
    return [Video("/a.mp4", "class 1", "test"), Video("/b.mp4", None, "test"), Video("/c.mp4")]


def test_figures_say_of_how_many_videos_they_are(encoder, toy_videos, tmp_path, capsys, lost):
    options = Retrieval(name="retrieval")
    known = DataSet(name="UCF101", classes=3, of=101)
    report = evaluate(encoder, toy_videos, options, tmp_path, dataset=known, left_out=lost)
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["left_out"] == {"test": {"used": 4, "of": 5}}
    assert document["facts"]["test videos"] == "4 of 5"
    assert all("all test videos, not 4 of 5" in row["differs"] for row in document["published"])
    show(options, report)
    assert "test videos 4 of 5" in " ".join(capsys.readouterr().out.split())


def test_figures_of_all_videos_say_nothing(encoder, toy_videos, tmp_path):
    report = evaluate(encoder, toy_videos, Retrieval(name="retrieval"), tmp_path)
    assert as_json(Retrieval(name="retrieval"), report)["left_out"] == {}


def test_what_is_left_out_of_each_split_counts(encoder, toy_videos, lost):
    study = EncoderStudy(
        encoder, toy_videos, splits=lambda number: (toy_videos, lost if number == 2 else lost[1:])
    )
    assert study.coverage == {}
    study.of_split(1)
    assert study.coverage == {}
    study.of_split(2)
    assert study.coverage == {"test": {"used": 8, "of": 9}}


def test_a_run_remembers_what_it_was_trained_on(run, encoder):
    trained_on = {"name": "UCF101", "classes": 3, "of": 101}
    assert json.loads((run / "run.json").read_text())["dataset"] == trained_on
    assert encoder.card.pretraining.model_dump() == trained_on


def test_of_unknown_data_nothing_is_published(encoder, toy_videos, capsys):
    options = Retrieval(name="retrieval")
    report = evaluate(encoder, toy_videos, options)
    assert as_json(options, report)["published"] == []
    show(options, report)
    assert "published" not in capsys.readouterr().out


def test_data_without_splits_is_refused(encoder, toy_videos):
    with pytest.raises(UsageError, match="has a label and the split 'test'"):
        evaluate(encoder, toy_videos[:8], Retrieval(name="retrieval"), None)


def test_an_unreadable_video_is_an_error_not_another_figure(encoder, toy_videos, tmp_path):
    videos = [*toy_videos[:-1], replace(toy_videos[-1], path=str(tmp_path / "lost.mp4"))]
    with pytest.raises(VidsslError, match="1 video cannot be read"):
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
    found = pretext_scores(tmp_path / "run", toy_videos[:3], trained=True, device="cpu")
    assert found.values["equivariance.loss"] >= 0
    alone = pretext_scores(tmp_path / "run", toy_videos[:1], trained=True, device="cpu")
    assert alone.values["equivariance.loss"] == 0  # one couple has no rival


def test_an_exported_model_has_no_own_task(encoder, toy_videos, tmp_path):
    encoder.export(tmp_path / "model")
    with pytest.raises(UsageError, match="has no pretext tasks"):
        evaluate(encoder, toy_videos, Pretext(name="pretext"), run=tmp_path / "model")


@pytest.fixture
def watched(monkeypatch):
    """Return a list that grows by the path of every video that the network is shown."""
    seen = []
    read = Encoder.read

    def watch(self, views, readings, crops, skipped):
        for video, frames, features in read(self, views, readings, crops, skipped):
            seen.append(video.path)
            yield video, frames, features

    monkeypatch.setattr(Encoder, "read", watch)
    return seen


def measure(run, data, store, **options):
    options = Retrieval(name="retrieval", **options)
    return evaluate(Encoder.load(run, "cpu"), data, options, run=run, store=store).rows


def test_nothing_is_embedded_twice(run, toy_videos, tmp_path, watched):
    store = tmp_path / "features"
    rows = measure(run, toy_videos, store)
    assert len(watched) == 2 * len(toy_videos)
    assert measure(run, toy_videos, store) == rows
    assert measure(run, toy_videos, store, level="clip") != rows
    assert len(watched) == 2 * len(toy_videos)
    measure(run, toy_videos, store, tap="pool4")
    assert len(watched) == 4 * len(toy_videos)


def test_a_changed_byte_of_a_video_embeds_that_video_again(run, toy_videos, tmp_path, watched):
    changed = tmp_path / "changed.mp4"
    shutil.copyfile(toy_videos[0].path, changed)
    data = [replace(toy_videos[0], path=str(changed)), *toy_videos[1:]]
    store = tmp_path / "features"
    measure(run, data, store)
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1
    times = changed.stat()
    changed.write_bytes(content)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    watched.clear()
    measure(run, data, store)
    assert watched == [str(changed)] * 2


def test_a_changed_checkpoint_embeds_everything_again(run, toy_videos, tmp_path, watched):
    encoder = Encoder.load(run, "cpu")
    options, store = Retrieval(name="retrieval"), tmp_path / "features"
    evaluate(encoder, toy_videos, options, run=run, store=store)
    weight = next(encoder.backbone.parameters())
    weight.data[(0,) * weight.ndim] += 1e-3
    watched.clear()
    evaluate(encoder, toy_videos, options, run=run, store=store)
    assert watched == [video.path for video in toy_videos]  # random weights did not change


def test_damaged_features_are_refused_before_they_are_read(run, toy_videos, tmp_path):
    store = tmp_path / "features"
    measure(run, toy_videos, store)
    (*_, values) = store.glob("*/*/values.safetensors")
    content = bytearray(values.read_bytes())
    content[-1] ^= 1
    values.write_bytes(content)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        measure(run, toy_videos, store)


def test_features_that_another_network_made_are_refused(tmp_path):
    key = {"weights": "mine"}
    Shelf(tmp_path, key).add({"row": np.ones((1, 2), np.float32)})
    (part,) = tmp_path.glob("*/*")
    Shelf(tmp_path, {"weights": "other"}).add({"row": np.zeros((1, 2), np.float32)})
    (other,) = set(tmp_path.glob("*/*")) - {part}
    shutil.rmtree(part)
    shutil.copytree(other, part)
    with pytest.raises(DamagedFileError, match="features of another key") as caught:
        Shelf(tmp_path, key)
    assert caught.value.where == str(part)


def test_other_splits_are_opened_by_number(encoder, toy_videos):
    def splits(number):
        assert number == 2
        return toy_videos[::-1], ()

    study = EncoderStudy(encoder, toy_videos, splits=splits)
    assert study.of_split(2).data == toy_videos[::-1]
    with pytest.raises(UsageError, match="have one split"):
        EncoderStudy(encoder, toy_videos).of_split(2)


def test_hand_made_features_are_kept_too(run, toy_videos, tmp_path, monkeypatch):
    made = []

    def describe(videos, side):
        made.extend(videos)
        return baselines.describe(videos, side)

    monkeypatch.setattr("vidssl_cli.evaluation.study.describe", describe)
    store = tmp_path / "features"
    encoder = Encoder.load(run, "cpu")
    first = EncoderStudy(encoder, toy_videos, store=store).baseline("colour", toy_videos[:3])
    study = EncoderStudy(encoder, toy_videos, store=store)
    again = study.baseline("colour", toy_videos[:4])
    assert made == list(toy_videos[:4])
    assert (again[:3] == first).all()
    assert study.baseline("frame_difference", toy_videos[:4]).shape == (4, 64)
    assert made == list(toy_videos[:4])
    expected = baselines.describe(toy_videos[:1], 64)["colour"]
    np.testing.assert_allclose(first[:1], expected, rtol=1e-6)


def test_a_run_is_evaluated_on_other_data_without_its_own(
    toy_recipe, toy_videos, make_video, tmp_path
):
    """As HMDB51 is by a run on UCF101: nothing but the run directory is needed."""
    videos = [
        probe(str(make_video(tmp_path / f"own/{number}.mp4", frames=30 + number)))
        for number in range(4)
    ]
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, videos, Session(tmp_path / "first", device="cpu"))
    shutil.rmtree(tmp_path / "own")
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    rows = measure(moved, toy_videos, moved / "features")
    assert [row["weights"] for row in rows] == ["run", "random"]


def test_health_needs_no_labels_and_no_splits(encoder, toy_videos):
    bare = [replace(video, label=None, split=None) for video in toy_videos]
    report = evaluate(encoder, bare, Health(name="health"))
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    assert report.facts["videos"] == 12


def test_still_clips_of_a_network_that_sees_differences_are_all_alike(encoder, toy_videos):
    report = evaluate(encoder, toy_videos, Retrieval(name="retrieval", still=True))
    run, random = ({k: v for k, v in row.items() if k != "weights"} for row in report.rows)
    assert run == random == report.chances
    assert report.tables[0].title == "nothing to rank"


def test_strict_is_status_5_where_a_video_is_left_out(run, toy_videos, tmp_path, capsys):
    from vidssl_cli.cli import app
    from vidssl_cli.cli.failures import run as call

    for number, video in enumerate(toy_videos):
        path = tmp_path / "data" / str(video.split) / str(video.label) / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(video.path)
    words = ["evaluate", str(run), "--data", str(tmp_path / "data"), "--device", "cpu"]
    words += ["--out", str(tmp_path / "report"), "--json", "--strict"]
    assert call(app, words) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == {}
    (path.parent / "broken.mp4").write_bytes(b"no video")
    assert call(app, words) == 5
    assert json.loads(capsys.readouterr().out)["left_out"]
    assert call(app, words[:-1]) == 0


@pytest.mark.parametrize("protocol", [Retrieval(name="retrieval"), KNN(name="knn")])
def test_several_strides_are_an_option_and_a_setting_of_the_recipe(encoder, toy_videos, protocol):
    asked = type(protocol)(name=protocol.name, clips=2, stride=[1, 2])
    report = evaluate(encoder, toy_videos, asked)
    assert report.facts["stride"] == (1, 2)
    study = EncoderStudy(encoder, toy_videos)
    study.evaluation = encoder.evaluation.model_copy(update={"stride": (1, 2), "clips": 2})
    assert protocol.build()(study).rows == report.rows


@pytest.mark.parametrize(
    "protocol",
    [
        Still(name="still", fc={"epochs": 1, "hidden": [4]}),
        Retrieval(name="retrieval", still=True, crops="three", level="clip"),
        Invariance(name="invariance", strengths=[2], pairs=1, clips=2),
        Health(name="health"),
        Linear(name="linear"),
    ],
)
def test_every_protocol_takes_a_recipe_of_several_strides(encoder, toy_videos, protocol):
    study = EncoderStudy(encoder, toy_videos)
    study.evaluation = encoder.evaluation.model_copy(update={"stride": (1, 2), "clips": 2})
    assert [row["weights"] for row in protocol.build()(study).rows] == ["run", "random"]


def stop_after(count, monkeypatch):
    """Interrupt the reading of videos after so many, until called again with None."""
    real = Encoder.read

    def read(self, views, *rest):
        for number, item in enumerate(real(self, views, *rest)):
            if number == count:
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(Encoder, "read", read)


def test_an_interrupted_pass_goes_on_where_it_was(run, toy_videos, tmp_path, watched, monkeypatch):
    store = tmp_path / "features"
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(KeyboardInterrupt):
            measure(run, toy_videos, store)
    (journal,) = store.glob(".[!.]*")
    with journal.open("ab") as file:
        file.write(b"half a rec")  # as a kill leaves it
    watched.clear()
    rows = measure(run, toy_videos, store)
    of_run = watched[: len(watched) - len(toy_videos)]  # the others are for random weights
    assert of_run == [video.path for video in toy_videos][5:]
    assert not list(store.glob(".[!.]*"))
    assert rows == measure(run, toy_videos, tmp_path / "other")


def test_a_second_process_on_the_same_features_does_without_a_journal(tmp_path):
    shelf = Shelf(tmp_path, {"weights": "mine"})
    row = np.arange(6, dtype=np.float32).reshape(2, 3)
    with Pass(tmp_path, [shelf], ["a", "b"]) as first, Pass(tmp_path, [shelf], ["a"]) as second:
        first.add("a", [row])
        second.add("a", [row])
        assert len(list(tmp_path.glob(".*"))) == 1
    np.testing.assert_array_equal(Shelf(tmp_path, {"weights": "mine"}).rows["a"], row)
    assert not list(tmp_path.glob(".*"))
