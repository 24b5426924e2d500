"""The linear probe against scikit-learn, and fully connected layers, on made-up features."""

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler

from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_plugins.evaluators.hooks import KNN, SVM, Linear, LowShot


def study(labels=(0, 1, 2) * 20, shift=1.5, seed=0):
    """Three classes whose features are Gaussian clouds, two clips of each video."""
    random = np.random.default_rng(seed)
    centres = shift * random.normal(size=(3, 5))
    clips, parts = {}, {}
    for split in ("train", "test"):
        parts[split] = [
            Video(f"{split}{i}", label=str(c), split=split, frames=50) for i, c in enumerate(labels)
        ]
        found = centres[list(labels), None] + random.normal(size=(len(labels), 2, 5))
        clips |= dict(zip((v.path for v in parts[split]), found.astype(np.float32), strict=True))
    toy = MadeUpStudy(
        lambda weights, look, reading: clips[look.video.path],
        *parts.values(),
        weights=("run",),
        taps={"pool5": 5},
    )
    arrays = [np.stack([clips[v.path].mean(0) for v in part]) for part in parts.values()]
    return toy, arrays, [str(c) for c in labels]


def test_agrees_with_scikit_learn():
    toy, (train, test), labels = study()
    scaler = StandardScaler().fit(train)
    penalties = [1e-3, 0.1, 10]
    scores = [
        cross_val_score(LogisticRegression(C=c, max_iter=500), scaler.transform(train), labels)
        for c in penalties
    ]
    best = penalties[int(np.argmax(np.mean(scores, 1)))]
    reference = LogisticRegression(C=best, max_iter=500).fit(scaler.transform(train), labels)
    predicted = reference.predict(scaler.transform(test))
    expected = reference.score(scaler.transform(test), labels)
    report = Linear(name="linear", penalties=penalties).build()(toy)
    (row,) = report.rows
    assert row["accuracy"] == pytest.approx(expected)
    assert row["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert 0.6 < expected < 1


def test_chance_names_the_commonest_class():
    toy, *_ = study(labels=(0, 0, 0, 1, 2) * 6)
    report = Linear(name="linear", penalties=[1]).build()(toy)
    assert report.chance == pytest.approx(0.6)
    assert report.chances == {
        "accuracy": pytest.approx(0.6),
        "mean_class_accuracy": pytest.approx(1 / 3),
    }


QUICK = {"hidden": (32,), "epochs": 20, "lr": 1e-2}


def rings(weights, look, reading):
    """Two clips on a circle around nothing, whose radius is the class if asked as the run."""
    random = np.random.default_rng([*look.video.path.encode()])
    angle = random.uniform(0, 2 * np.pi, 2)
    radius = 1 + int(look.video.label) * (weights == "run")
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def test_layers_read_off_what_a_line_does_not():
    videos = [
        [Video(f"{split}{i}", label=str(i % 2), split=split, frames=50) for i in range(size)]
        for split, size in (("train", 80), ("test", 40))
    ]
    toy = MadeUpStudy(rings, *videos)
    run, random = Linear(name="linear", head="fc", fc=QUICK).build()(toy).rows
    assert run["accuracy"] == run["clip_accuracy"] == 1
    assert random["accuracy"] < 0.7
    (run, _) = Linear(name="linear", penalties=[0.1]).build()(toy).rows
    assert run["accuracy"] < 0.7


def test_layers_are_told_by_the_mean_over_clips():
    """One clip of three of every test video looks like another class: two outvote it."""

    def answer(weights, look, reading):
        label = int(look.video.label)
        seen = np.eye(3)[[label] * 3]
        if look.video.split == "test":
            seen[0] = np.eye(3)[(label + 1) % 3]
        return seen

    report = Linear(name="linear", head="fc", clips=3, fc=QUICK).build()(MadeUpStudy(answer))
    assert report.rows[0]["accuracy"] == 1
    assert report.rows[0]["clip_accuracy"] == pytest.approx(2 / 3)
    assert report.facts["head"] == "fc"


def test_layers_are_compared_in_one_pass():
    """The class is in `conv5` alone."""

    def answer(weights, look, reading):
        label = int(look.video.label) if reading.tap == "conv5" else len(look.video.path) % 2
        return np.eye(3)[[label] * len(look.frames)]

    toy = MadeUpStudy(answer)
    options = {"penalties": [0.1], "tap": "pool5", "taps": ["pool4", "conv5:gmp"]}
    report = Linear(name="linear", **options).build()(toy)
    assert [[each.tap for each in layers] for _, layers, _ in toy.asked] == [
        ["pool5", "pool4", "conv5"]
    ] * 4
    *_, table = report.tables
    assert list(table.columns[:4]) == ["layer", "pool", "weights", "accuracy"]
    assert [row[:3] for row in table.rows] == [
        ["pool4", "gap", "run"], ["pool4", "gap", "random"],
        ["conv5", "gmp", "run"], ["conv5", "gmp", "random"],
    ]  # fmt: skip
    assert table.rows[2][3] == 100 > table.rows[0][3] == 100 * report.rows[0]["accuracy"]
    assert report.figures[-1].title == "linear by layer"


def test_layers_are_compared_by_a_line_only():
    with pytest.raises(ValidationError, match="head=logistic"):
        Linear(name="linear", head="fc", taps=["conv5"])


EVERY = {"windows": "overlap", "hop": 1}


def by_time(weights, look, reading):
    """Show the class of a training video; of a test video only in its first three sub-sequences."""
    label = int(look.video.label)
    if look.video.split == "train":
        return np.eye(3)[[label] * len(look.frames)]
    starts = look.frames[:, 0]
    return np.where((starts < 3)[:, None], np.eye(3)[label], np.eye(3)[(label + 1) % 3])


def test_all_sub_sequences_decide_on_a_test_video():
    """Of 20 frames, 16 make 5 sub-sequences: 3 of 5 are right, and so is the mean over them.

    Two evenly spaced clips begin at 0 and 4, and half of them are right.
    """
    parts = [labelled("train", 8, frames=20), labelled("test", 4, frames=20)]
    few, every = (MadeUpStudy(by_time, *parts, weights=("run",)) for _ in range(2))
    options = {"name": "linear", "head": "fc", "fc": QUICK}
    assert Linear(**options).build()(few).rows[0]["clip_accuracy"] == 0.5
    report = Linear(**options, **EVERY).build()(every)
    assert report.rows[0]["clip_accuracy"] == pytest.approx(3 / 5)
    assert report.rows[0]["accuracy"] == 1
    train, test = (looks for looks, *_ in every.asked)
    assert {tuple(look.frames[:, 0]) for look in train} == {(0, 4)}
    assert {tuple(look.frames[:, 0]) for look in test} == {(0, 1, 2, 3, 4)}
    assert (report.facts["clips"], report.facts["windows"], report.facts["hop"]) == (
        2,
        "overlap",
        1,
    )


@pytest.mark.parametrize(("options", "starts"), [(EVERY, 85), ({"windows": "dense"}, 3), ({}, 2)])
@pytest.mark.parametrize("kind", [KNN, SVM, Linear, LowShot])
def test_windows_of_test_videos_are_those_asked_for(kind, options, starts):
    """Of 100 frames, 85 sub-sequences of 16; every 42nd of them, for about 2; or 2."""
    toy = MadeUpStudy(weights=("run",))
    name = kind.model_fields["name"].annotation.__args__[0]
    shots = {"shots": [2], "draws": 2} if kind is LowShot else {}
    kind(name=name, **options, **shots).build()(toy)
    train, test = (looks for looks, *_ in toy.asked)
    assert {len(look.frames) for look in train} == {2}
    assert {len(look.frames) for look in test} == {starts}
