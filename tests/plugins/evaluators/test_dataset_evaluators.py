"""Protocols of YUPENN and ASLAN against the specification and scikit-learn."""

import csv
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from vidssl_cli import testing
from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.load import load_options
from vidssl_cli.contract.clips import Windows
from vidssl_cli.contract.hooks import EvaluatorOptions
from vidssl_cli.contract.study import ClipSet, Layer
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.evaluate import evaluate
from vidssl_cli.evaluation.made_up import MadeUpStudy, clouds, labelled
from vidssl_plugins.evaluators.hooks import Scene, Similarity
from vidssl_plugins.evaluators.scene import leave_one_out
from vidssl_plugins.evaluators.shared.classifiers import linear_svm
from vidssl_plugins.evaluators.similarity import similarities


def test_overlapping_clips():
    """T-EV2."""
    starts = Windows("overlap", hop=8).of(50, 16)[:, 0]
    assert starts.tolist() == [0, 8, 16, 24, 32]


# Scenes


@pytest.mark.parametrize("dimensions", [5, 200])
def test_leaving_one_out_agrees_with_scikit_learn(dimensions):
    random = np.random.default_rng(0)
    classes = np.repeat([0, 1, 2], 10)
    centres = random.normal(size=(3, dimensions)) * dimensions**-0.25
    features = centres[classes] + random.normal(size=(30, dimensions))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    given = leave_one_out(linear_svm(10), features, classes)
    naive = LinearSVC(C=10, dual=False)
    expected = cross_val_predict(naive, features, classes, cv=LeaveOneOut())
    assert given.tolist() == expected.tolist()
    assert 0.4 < (given == classes).mean() < 1


def test_scenes_that_differ_are_told():
    report = Scene(name="scene").build()(MadeUpStudy(train=labelled("a", 5), test=labelled("b", 3)))
    run, random = report.rows
    assert run["accuracy"] == 1
    assert random["accuracy"] < 0.7
    assert report.chance == pytest.approx(1 / 3)
    assert report.facts["videos"] == 24
    assert report.tables[0].columns == ["class", "tested", "run", "random"]
    assert report.tables[0].rows[0][:3] == ["0", 8, 100]
    figure = report.figures[0]
    assert figure.counts == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]
    assert figure.classes == ["0", "1", "2"]


def test_what_a_scene_is_seen_by():
    toys = MadeUpStudy(train=[*labelled("a", 2, frames=50), Video("unlabelled", frames=20)])
    Scene(name="scene", tap="pool3", pool="gmp").build()(toys)
    looks, readings, _ = toys.asked[0]
    assert len(looks) == 18
    assert looks[0].frames[:, 0].tolist() == [0, 8, 16, 24, 32]
    assert readings == [Layer("pool3", "gmp")]


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ([], "0 labelled videos of 0 classes, 0 of the smallest"),
        ([Video("a", frames=20)], "0 labelled videos of 0 classes"),
        (labelled("a", 3, classes=1), "3 labelled videos of 1 classes, 3 of the smallest"),
        ([*labelled("a", 2), Video("b", label="b", frames=20)], "7 .* of 4 classes, 1 of the"),
    ],
)
def test_scenes_without_enough_videos(train, message):
    with pytest.raises(UsageError, match=message):
        Scene(name="scene").build()(MadeUpStudy(train=train, test=[]))


# Similarity


ROWS = [
    (
        [0.6, 0.8, 0, 0],
        [0.8, 0, 0.6, 0],
        "0.48 0.692820 0.832358 0.585540 0.48 1.195229 1.6 1.189268 15.904359 1.019804 2.755929 "
        "0.306122",
    ),
    (
        [0.6, 0.8, 0, 0],
        [0.6, 0.8, 0, 0],
        "1 1 1.183216 0.836660 1 0 0 0 0 0 1.414214 0.714286",
    ),
    (
        [0.5, 0.5, 0.5, 0.5],
        [0.1, 0.7, 0.5, 0.5],
        "0.9 0.948683 1.347299 0.935414 0.9 0.547723 0.6 0.411789 0.355535 0.447214 3.090847 "
        "0.444444",
    ),
]
"""T-EV6."""


@pytest.mark.parametrize(("x", "y", "expected"), ROWS)
def test_the_twelve(x, y, expected):
    values = [float(value) for value in expected.split()]
    assert similarities(np.array(x), np.array(y)) == pytest.approx(values, abs=1e-6)


Vectors = st.lists(
    st.tuples(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32)), min_size=1, max_size=9
)


@given(Vectors)
def test_the_twelve_are_symmetric_and_finite(pairs):
    x, y = np.array(pairs, dtype=np.float64).T
    found = similarities(x, y)
    assert found == pytest.approx(similarities(y, x))
    assert np.isfinite(found).all()
    assert found == pytest.approx(similarities(np.maximum(x, 0), np.maximum(y, 0)))


def test_the_twelve_of_nothing_are_zero():
    assert similarities(np.zeros(4), np.zeros(4)).tolist() == [0] * 12


def write(path, rows, columns=("first", "second", "same", "fold")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


PAIRS = sorted(combinations(range(9), 2), key=lambda pair: (pair[0] - pair[1]) % 3 != 0)
"""Of nine videos of three classes in turn: first those of one class, 9 of 36."""


@pytest.fixture
def table(tmp_path):
    """All pairs in three folds, each with a third of those of one class."""
    rows = [
        (f"v{a}.mp4", f"v{b}", int((a - b) % 3 == 0), f"fold {n % 3}")
        for n, (a, b) in enumerate(PAIRS)
    ]
    return write(tmp_path / "pairs.csv", rows)


def nine(answer=clouds):
    return MadeUpStudy(answer, train=labelled("v", 3), test=[])


def positive(weights, look, reading):
    return np.abs(clouds(weights, look, reading))


def test_similar_videos_are_told(table):
    report = Similarity(name="similarity", pairs=table).build()(nine(positive))
    run, random = report.rows
    assert run["accuracy"] == run["auc"] == 1
    assert random["accuracy"] < 0.9
    assert random["auc"] < 0.9
    assert report.chances == {"accuracy": 0.75, "auc": 0.5}
    assert (report.facts["pairs"], report.facts["videos"]) == (36, 9)
    assert not any("negative" in fact for fact in report.facts)


def test_similarity_keeps_the_contract(tmp_path):
    names = [video.path for video in MadeUpStudy().data]
    rows = [
        (a, b, n % 2, n % 4 // 2) for n, (a, b) in enumerate(zip(names, names[3:], strict=False))
    ]
    table = write(tmp_path / "pairs.csv", rows)
    testing.check_evaluator(Similarity(name="similarity", pairs=table))


def test_similarity_agrees_with_scikit_learn(table):
    options = Similarity(name="similarity", pairs=table, taps=["pool3", "pool4"], pool="gmp")
    report = options.build()(nine(positive))
    videos = labelled("v", 3)
    toys = nine(positive)
    means = []
    for tap in options.taps:
        looks = [ClipSet(video, Windows("overlap").of(100, 16)) for video in videos]
        mean = np.stack([toys.answer("random", look, Layer(tap)).mean(0) for look in looks])
        means.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    values = np.array([np.concatenate([similarities(m[i], m[j]) for m in means]) for i, j in PAIRS])
    same = np.arange(36) < 9
    accuracies, areas = [], []
    for fold in range(3):
        asked = np.arange(36) % 3 == fold
        scaler = StandardScaler().fit(values[~asked])
        svm = LinearSVC(dual=False).fit(scaler.transform(values[~asked]), same[~asked])
        accuracies.append(100 * svm.score(scaler.transform(values[asked]), same[asked]))
        areas.append(
            roc_auc_score(same[asked], svm.decision_function(scaler.transform(values[asked])))
        )
    row = report.rows[1]
    assert row["accuracy"] == pytest.approx(np.mean(accuracies) / 100)
    assert row["auc"] == pytest.approx(np.mean(areas))
    found = {name: value for name, _, value in report.tables[0].rows}
    assert found["fold 1"] == pytest.approx(accuracies[1], abs=0.01)
    error = np.std(accuracies, ddof=1) / np.sqrt(3)
    assert found["standard error"] == pytest.approx(error, abs=0.01)


def test_negative_values_are_told(table):
    report = Similarity(name="similarity", pairs=table).build()(nine())
    assert "counted as 0" in report.facts["negative with random weights"]


def test_pairs_are_required():
    with pytest.raises(UsageError, match="similarity: pairs"):
        load_options(EvaluatorOptions, "similarity")


V = ["v0", "v1", "1", "a"]
BALANCED = [V, ["v0", "v2", "0", "a"], ["v1", "v2", "1", "b"], ["v3", "v4", "0", "b"]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["v0", "v9", "1", "a"]], r"pairs.csv:2: there is no video 'v9' in the data"),
        ([V, ["v0", "", "1", "a"]], r"pairs.csv:3: there is no video ''"),
        ([["twin", "v1", "1", "a"]], r"pairs.csv:2: 2 videos are called 'twin'"),
        ([["v0", "v1", "yes", "a"]], r"pairs.csv:2: same is 0 or 1, not 'yes'"),
        ([["v0", "v1", "1", ""]], r"pairs.csv:2: there is no fold"),
        ([["v0", "v1", "1"]], r"pairs.csv:2: there is no fold"),
        ([], "pairs.csv has 0 fold"),
        (BALANCED[:2], "pairs.csv has 1 fold"),
        (BALANCED[:3], "no pair of fold b is not the same"),
        ([*BALANCED[:2], BALANCED[3]], "no pair of fold b is the same"),
    ],
)
def test_pairs_that_do_not_fit(tmp_path, rows, message):
    study = nine()
    study.test = [Video("x/twin.mp4", frames=20), Video("y/twin.mp4", frames=20)]
    file = write(tmp_path / "pairs.csv", rows)
    with pytest.raises(UsageError, match=message):
        Similarity(name="similarity", pairs=file).build()(study)


def test_a_table_without_a_column(tmp_path):
    file = write(tmp_path / "pairs.csv", [], ("first", "second", "same"))
    with pytest.raises(UsageError, match="has no column 'fold'"):
        Similarity(name="similarity", pairs=file).build()(nine())
    with pytest.raises(UsageError, match="is not a file"):
        Similarity(name="similarity", pairs=tmp_path / "none.csv").build()(nine())


def test_videos_of_one_name_are_told_by_their_folders(tmp_path):
    study = nine(positive)
    study.test = [
        Video("x/twin.mp4", label="0", frames=20),
        Video("y/twin.mp4", label="1", frames=20),
    ]
    study.test = [replace(v, path=str(tmp_path / v.path)) for v in study.test]
    rows = [["x/twin", study.test[1].path, "0", "a"], V, *BALANCED[2:]]
    report = Similarity(name="similarity", pairs=write(tmp_path / "p.csv", rows)).build()(study)
    assert report.facts["videos"] == 7


@pytest.mark.parametrize("pool", ["adaptive_max233", "flatten", "gap", "gmp"])
def test_similarity_takes_any_pooling_of_the_recipe(pool, toy_encoder, toy_videos, tmp_path):
    """Pool5 is a vector here, as in the networks of the thesis, whose recipes pool maps."""
    rows = [(n, n + 3, 1, n % 2) for n in range(6)] + [(n, n + 1, 0, n % 2) for n in range(6)]
    options = Similarity(name="similarity", pairs=write(tmp_path / "pairs.csv", rows))
    report = evaluate(toy_encoder(tap="pool4", pool=pool), toy_videos, options)
    assert report.facts["taps"] == "pool3 pool4 pool5:gap"
    assert report.facts["pool"] == pool


def test_similarity_reads_each_layer_by_its_own_pooling(table):
    study = nine(positive)
    options = Similarity(name="similarity", pairs=table, taps=["pool3:gmp", "pool4"], pool="gap")
    options.build()(study)
    assert study.asked[-1][1] == [Layer("pool3", "gmp"), Layer("pool4", "gap")]
    with pytest.raises(ValidationError, match="no pooling 'max'"):
        Similarity(name="similarity", pairs=table, taps=["pool3:max"])


def test_both_need_no_splits(toy_encoder, toy_videos, tmp_path):
    videos = [replace(video, split=None) for video in toy_videos]
    report = evaluate(toy_encoder(), videos, Scene(name="scene"))
    assert report.facts["videos"] == 12
    rows = [(n, n + 3, 1, n % 2) for n in range(6)] + [(n, n + 1, 0, n % 2) for n in range(6)]
    options = Similarity(name="similarity", pairs=write(tmp_path / "pairs.csv", rows))
    report = evaluate(toy_encoder(), videos, options)
    assert report.facts["pairs"] == 12
    assert all(0 <= row["auc"] <= 1 for row in report.rows)
