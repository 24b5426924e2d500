"""Fine-tuning as a protocol: splits, presets, and that nothing is trained twice."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from vidssl_cli.base.errors import Interrupted, UsageError, VidsslError
from vidssl_cli.cli import app
from vidssl_cli.cli.failures import run as run_cli
from vidssl_cli.config.load import load, names
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import DataSet
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.study import Classified
from vidssl_cli.contract.videos import Video
from vidssl_cli.data import scan
from vidssl_cli.data.manifest import write_manifest
from vidssl_cli.evaluation.evaluate import evaluate
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_cli.evaluation.study import EncoderStudy
from vidssl_cli.media.probe import probe
from vidssl_cli.model.encoder import Encoder
from vidssl_cli.training.pretrain import pretrain
from vidssl_cli.training.session import Session
from vidssl_plugins.evaluators.hooks import Finetune


class Scripted(MadeUpStudy):
    """A study that says what it was told, and remembers how it was tested."""

    said = None
    others = None

    def finetune(self, weights, recipe, overrides, windows, crops="centre"):
        self.tested = (recipe, overrides, windows, crops)
        return Classified(["a", "b", "c"], self.said)

    def of_split(self, number):
        return self.others[number]


def scripted(probabilities, labels="ac", **changes):
    study = Scripted(
        train=[Video(f"train {c}", label=c, split="train", frames=50) for c in "abc"],
        test=[Video(f"test {i}", label=c, split="test", frames=50) for i, c in enumerate(labels)],
        weights=("run",),
        **changes,
    )
    study.said = [np.array(clips, dtype=np.float32) for clips in probabilities]
    return study


# T-EV3
CLIPS = [
    [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.7, 0.2, 0.1]],
    [[0.1, 0.5, 0.4], [0.3, 0.4, 0.3], [0.1, 0.1, 0.8]],
]


def test_clips_and_videos():
    report = Finetune(name="finetune").build()(scripted(CLIPS))
    assert report.rows == [
        {
            "weights": "run",
            "accuracy": 1,
            "mean_class_accuracy": 1,
            "clip_accuracy": 0.5,
            "video_accuracy": 1,
        }
    ]
    assert report.figures[0].counts == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert report.tables[0].rows == [["a", 1, 100], ["c", 1, 100]]


def test_clips_may_lead():
    report = Finetune(name="finetune", level="clip").build()(scripted(CLIPS))
    assert report.rows[0]["accuracy"] == 0.5
    assert report.rows[0]["mean_class_accuracy"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert report.figures[0].counts == [[2, 1, 0], [0, 0, 0], [0, 2, 1]]
    assert report.tables[0].rows == [["a", 3, 66.7], ["c", 3, 33.3]]


@pytest.mark.parametrize(
    ("options", "windows", "crops", "level"),
    [
        ({}, Windows(clips=2), "centre", "video"),
        ({"preset": "tt"}, Windows("overlap", clips=2, hop=1), "centre", "video"),
        ({"preset": "te"}, Windows(clips=10), "three", "video"),
        ({"preset": "psp"}, Windows(clips=10), "centre", "video"),
        ({"preset": "sstl"}, Windows(clips=5), "centre", "video"),
        ({"preset": "sts2"}, Windows(clips=10), "centre", "clip"),
        ({"preset": "sts3"}, Windows(clips=10), "centre", "video"),
        ({"preset": "pace"}, Windows(clips=10), "centre", "video"),
        (
            {"preset": "te", "windows": "overlap", "hop": 4, "crops": "centre"},
            Windows("overlap", clips=10, hop=4), "centre", "video",
        ),
        (
            {"preset": "tt", "windows": "dense", "clips": 3, "stride": 2, "level": "clip"},
            Windows("dense", clips=3, hop=1, stride=2), "centre", "clip",
        ),
    ],
)  # fmt: skip
def test_presets_test_as_the_papers_do(options, windows, crops, level):
    study = scripted(CLIPS)
    overrides = ("train.epochs=3",)
    chosen = Finetune(name="finetune", recipe="mine", set="train.epochs=3", **options)
    facts = chosen.build()(study).facts
    assert study.tested == ("mine", overrides, windows, crops)
    assert (facts["crops"], facts["level"], facts["stride"]) == (crops, level, windows.stride)
    assert ("clips" in facts) == (windows.place != "overlap")
    assert facts.get("hop", windows.hop) == windows.hop


@pytest.mark.parametrize(
    ("options", "backbone", "recipe"),
    [
        ({}, "r3d", "finetune"),
        ({"preset": "tt"}, "r3d", "papers/temporal-transforms-finetune"),
        ({"preset": "tt"}, "c3d_light", "papers/temporal-transforms-finetune-c3d"),
        ({"preset": "tt", "recipe": "mine"}, "c3d_light", "mine"),
        ({"preset": "te"}, "s3dg", "papers/time-equivariant-finetune"),
        ({"preset": "psp"}, "c3d", "papers/playback-speed-finetune"),
        ({"preset": "sstl"}, "r3d", "papers/sstl-finetune"),
        ({"preset": "sts2"}, "c3d_light", "papers/statistics-finetune-c3d-light"),
        ({"preset": "sts3"}, "r3d", "finetune"),
        ({"preset": "pace"}, "s3dg", "finetune"),
    ],
)
def test_presets_train_by_the_recipe_of_their_paper(options, backbone, recipe):
    study = scripted(CLIPS, backbone=backbone)
    facts = Finetune(name="finetune", **options).build()(study).facts
    assert facts["recipe"] == study.tested[0] == recipe
    assert recipe in names() or recipe == "mine"


def test_splits_are_averaged_and_their_classes_summed():
    whole = scripted(CLIPS)
    other = scripted([CLIPS[0], CLIPS[0], CLIPS[0]], labels="abc")
    other.test = [replace(video, path=f"other {video.path}") for video in other.test]
    whole.others = {1: whole, 3: other}
    report = Finetune(name="finetune", splits=[3, 1]).build()(whole)
    (row,) = report.rows
    assert row["video_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    assert row["clip_accuracy"] == pytest.approx((0.5 + 1 / 3) / 2)
    spread, classes = report.tables
    assert list(spread.columns) == ["weights", "metric", "split 1", "split 3", "mean", "deviation"]
    deviation = round(100 * np.std([1, 1 / 3], ddof=1), 1)
    assert spread.rows[1] == ["run", "video_accuracy", 100, 33.3, 66.7, deviation]
    assert classes.rows == [["a", 2, 100], ["c", 2, 50], ["b", 1, 0]]
    assert report.facts["splits"] == [1, 3]


def test_splits_that_are_one_are_refused():
    whole = scripted(CLIPS)
    whole.others = {1: whole, 2: whole}
    with pytest.raises(UsageError, match="splits 1 and 2 have the same test videos"):
        Finetune(name="finetune", splits=[1, 2]).build()(whole)


def test_weights_that_help_are_told_from_those_that_do_not():
    report = Finetune(name="finetune").build()(MadeUpStudy(test=labelled("test", 10)))
    run, random = report.rows
    assert run["accuracy"] == run["clip_accuracy"] == 1
    assert random["accuracy"] < 0.7


@pytest.fixture(scope="module")
def run(toy_videos, toy_recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "run"
    recipe = PretrainRecipe.model_validate(toy_recipe(epochs=1))
    pretrain(recipe, toy_videos, Session(out, device="cpu"))
    return out


QUICK = ("sampler.frames=8", "train.epochs=1", "train.repeats=1", "train.batch_videos=4")


def measure(run, data, folder, dataset=None, **options):
    chosen = Finetune(name="finetune", **{"set": QUICK} | options)
    encoder = Encoder.load(run, "cpu")
    return evaluate(
        encoder, data, chosen, folder, run=run, store=folder / "features", dataset=dataset
    )


@pytest.fixture
def run_alone(monkeypatch):
    """Leave out the row of random weights."""
    monkeypatch.setattr(EncoderStudy, "weights", ("run",))


@pytest.fixture
def trained(monkeypatch):
    """Return a list of the directories that are trained in."""
    from vidssl_cli.training import finetune

    folders, fit = [], finetune.fit

    def watch(learner, loader, settings, run, *args, **kwargs):
        folders.append(run.folder.name.split("-")[0])
        fit(learner, loader, settings, run, *args, **kwargs)

    monkeypatch.setattr(finetune, "fit", watch)
    return folders


def test_what_was_trained_is_tested_again_without_training(run, toy_videos, tmp_path, trained):
    report = measure(run, toy_videos, tmp_path)
    assert [row["weights"] for row in report.rows] == ["run", "random"]
    assert trained == ["finetuned", "scratch"]
    assert measure(run, toy_videos, tmp_path).rows == report.rows
    other = measure(run, toy_videos, tmp_path, preset="te", recipe="finetune", clips=2)
    assert np.sum(other.figures[0].counts) == 4
    assert trained == ["finetuned", "scratch"]
    measure(run, toy_videos[1:], tmp_path)
    assert trained == ["finetuned", "scratch"] * 2


def test_says_what_fine_tuning_itself_reports(run, toy_videos, tmp_path):
    report = measure(run, toy_videos, tmp_path, clips=10)
    for row, name in zip(report.rows, ("finetuned", "scratch"), strict=True):
        (written,) = tmp_path.glob(f"{name}-*/report.json")
        last = json.loads(written.read_text())["rows"][0]
        assert last["checkpoint"] == "last"
        for metric in ("clip_accuracy", "video_accuracy", "mean_class_accuracy"):
            assert row[metric] == pytest.approx(last[metric])


@pytest.mark.usefixtures("run_alone")
@pytest.mark.parametrize(
    ("options", "stride"),
    [
        ({}, 1),
        ({"set": [*QUICK, "sampler.stride=2"]}, 2),
        ({"preset": "tt", "windows": "uniform", "clips": 2}, 4),
        ({"preset": "te", "clips": 1}, 4),
        ({"preset": "pace", "recipe": "papers/temporal-transforms-finetune"}, 4),
    ],
)
def test_one_stride_feeds_training_and_test(options, stride, run, toy_videos, tmp_path, capfd):
    """Of the network that is trained, whatever stride the run embeds with."""
    facts = measure(run, toy_videos, tmp_path, **options).facts
    (child,) = tmp_path.glob("finetuned-*/recipe.yaml")
    recipe = load(child)
    assert (recipe.sampler.stride, recipe.evaluation.stride) == (stride, stride)
    assert facts["stride"] == stride
    assert "trained_stride" not in facts
    assert "stride" not in capfd.readouterr().err


@pytest.mark.usefixtures("run_alone")
@pytest.mark.parametrize(
    "options",
    [{"set": [*QUICK, "sampler.stride=2", "evaluation.stride=1"]}, {"stride": 2}],
    ids=["recipe", "protocol"],
)
def test_two_strides_are_warned_about_and_differ_from_papers(
    options, run, toy_videos, tmp_path, capfd
):
    data = DataSet(name="UCF101", classes=101, of=101)
    report = measure(run, toy_videos, tmp_path, dataset=data, **options)
    trained, tested = report.facts["trained_stride"], report.facts["stride"]
    assert {trained, tested} == {1, 2}
    said = f"trained on clips of stride {trained} and tested on clips of stride {tested}"
    assert said in capfd.readouterr().err
    assert report.published
    for row in report.published:
        assert f"one stride, not {trained} in training and {tested} in test" in row.differs


@pytest.mark.usefixtures("run_alone")
def test_goes_on_where_it_was_interrupted(run, toy_videos, tmp_path, monkeypatch):
    from vidssl_cli.training import finetune

    expected = measure(run, toy_videos, tmp_path / "whole", set=[*QUICK, "train.epochs=2"])
    save = finetune.fit.__globals__["checkpoint"].save

    def stop(*args, **kwargs):
        save(*args, **kwargs)
        raise Interrupted("after the first epoch")

    with monkeypatch.context() as patch:
        patch.setattr("vidssl_cli.training.checkpoint.save", stop)
        with pytest.raises(Interrupted):
            measure(run, toy_videos, tmp_path, set=[*QUICK, "train.epochs=2"])
    again = measure(run, toy_videos, tmp_path, set=[*QUICK, "train.epochs=2"])
    assert again.rows == expected.rows
    (log,) = tmp_path.glob("finetuned-*/metrics.jsonl")
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == [1, 2, 2, 3, 4, 4]


@pytest.mark.usefixtures("run_alone")
def test_a_test_video_that_cannot_be_read_is_an_error(run, toy_videos, tmp_path):
    lost = replace(toy_videos[-1], path=str(tmp_path / "lost.mp4"))
    with pytest.raises(VidsslError, match="1 video cannot be read") as raised:
        measure(run, [*toy_videos[:-1], lost], tmp_path)
    assert raised.value.where == lost.path
    lost = replace(toy_videos[0], path=str(tmp_path / "lost.mp4"))
    report = measure(run, [lost, *toy_videos[1:]], tmp_path)  # one to train with is left out
    (named,) = tmp_path.glob("finetuned-*/bad_media.jsonl")
    assert json.loads(named.read_text())["path"] == lost.path
    assert (report.facts["train"], report.facts["left_out"]) == (8, 1)


def test_needs_a_run_and_a_folder(run, toy_videos):
    with pytest.raises(UsageError, match="needs the run"):
        evaluate(Encoder.load(run, "cpu"), toy_videos, Finetune(name="finetune"))


@pytest.mark.parametrize("evaluator", ["finetune", "linear", "svm", "knn", "low_shot"])
@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ({"label": None}, "none of the 12 videos has a label and the split 'train'"),
        ({"label": "one"}, "8 training videos of 1 classes"),
        ({"split": "train"}, "none of the 12 videos has a label and the split 'test'"),
    ],
)
def test_data_that_lack_something_end_with_status_2(
    evaluator, spoil, found, run, toy_videos, tmp_path, capfd
):
    manifest = tmp_path / "videos.jsonl"
    write_manifest(manifest, [replace(video, **spoil) for video in toy_videos])
    command = ["evaluate", str(run), "--data", str(manifest), "--evaluator", evaluator]
    assert run_cli(app, [*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert found in errors[0]


def test_a_split_that_is_not_there_ends_with_status_2(run, toy_videos, tmp_path, capfd):
    manifest = tmp_path / "videos.jsonl"
    write_manifest(manifest, toy_videos)
    command = ["evaluate", str(run), "--data", str(manifest), "--evaluator", "finetune"]
    assert run_cli(app, [*command, "--set", "splits=[1,2]", "--device", "cpu"]) == 2
    assert "--split means nothing" in capfd.readouterr().err
    assert not (run / "evaluations").exists()


def test_official_splits_are_opened_without_scanning_again(
    run, toy_videos, tmp_path, monkeypatch, capfd
):
    root, lists = tmp_path / "UCF-101", tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    names = []
    for number, video in enumerate(toy_videos):
        names.append(f"{number % 3}/v_{number}_g{number:02}_c01.avi")
        (root / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video.path, root / names[-1])
    for split, test in ((1, names[:3]), (2, names[3:6])):
        train = [f"{name} 1" for name in names if name not in test]
        (lists / f"testlist0{split}.txt").write_text("\n".join(test))
        (lists / f"trainlist0{split}.txt").write_text("\n".join(train))
    scanned = []
    monkeypatch.setattr(scan, "probe", lambda path: scanned.append(path) or probe(path))
    command = ["evaluate", str(run), "--data", str(root), "--evaluator", "finetune", "--json"]
    changes = ["--set", f"set=[{','.join(QUICK)}]", "--set", "splits=[1,2]"]
    out = ["--out", str(tmp_path / "out"), "--device", "cpu"]
    assert run_cli(app, [*command, *changes, *out]) == 0
    assert len(scanned) == 12
    document = json.loads(capfd.readouterr().out)
    assert [row[:2] for row in document["tables"][0]["rows"]] == [
        [weights, metric]
        for weights in ("run", "random")
        for metric in ("clip_accuracy", "video_accuracy")
    ]
    assert np.sum(document["figures"][0]["counts"]) == 6
    assert len(list((tmp_path / "out").glob("*-*/run.json"))) == 4
