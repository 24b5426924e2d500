"""Accuracy against the number of labels, on made-up features."""

import numpy as np
import pytest

from vidssl_cli.base.errors import UsageError
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_plugins.evaluators.hooks import Linear, LowShot


def low_shot(study=None, **options):
    return LowShot(name="low_shot", **options).build()(study or MadeUpStudy())


def noisy(weights, look, reading):
    """One dimension tells the class of the run's features, 15 are loud."""
    random = np.random.default_rng([*look.video.path.encode()])
    features = random.normal(size=(len(look.frames), 16))
    if weights == "run":
        features[:, :3] += 1.2 * np.eye(3)[int(look.video.label)]
    return features


def gathered(weights, look, reading):
    """Videos of a class lie together if asked as the run, and anywhere otherwise."""
    random = np.random.default_rng([*look.video.path.encode()])
    centre = np.random.default_rng(int(look.video.label)).normal(size=16)
    return (weights == "run") * 5 * centre + random.normal(size=(len(look.frames), 16))


def test_a_representation_of_the_classes_needs_few_labels():
    report = low_shot(MadeUpStudy(gathered), shots=[1, 5])
    run, random = report.rows
    assert run == {"weights": "run", "1_shot": 1, "5_shot": 1, "all": 1}
    assert max(random["1_shot"], random["5_shot"], random["all"]) < 0.7
    assert set(report.chances) == {"1_shot", "5_shot", "all"}


@pytest.mark.parametrize("classifier", ["logistic", "svm", "knn"])
def test_more_labels_tell_more(classifier):
    study = MadeUpStudy(noisy, labelled("train", 40), labelled("test", 30))
    run, _ = low_shot(study, classifier=classifier, shots=[1, 10], draws=8).rows
    assert run["1_shot"] < run["10_shot"] < run["all"] + 0.1
    assert run["1_shot"] + 0.05 < run["all"]


def test_all_labels_are_those_of_the_linear_probe():
    study = MadeUpStudy(noisy)
    every, probe = low_shot(study, shots=[1]), Linear(name="linear", penalties=[0.1]).build()(study)
    assert [row["all"] for row in every.rows] == [row["accuracy"] for row in probe.rows]


def test_table_and_curve():
    report = low_shot(MadeUpStudy(noisy), shots=[2, 1], draws=3)
    (table,), (curves,) = report.tables, report.figures
    assert [row[:3] for row in table.rows[:3]] == [
        ["run", "1_shot", 3], ["run", "2_shot", 3], ["run", "all", 1],
    ]  # fmt: skip
    deviations = [row[4] for row in table.rows]
    assert deviations[2] is None
    assert all(deviation >= 0 for deviation in deviations if deviation is not None)
    assert set(curves.lines) == {"run", "random", "chance"}
    for weights, row in zip(("run", "random"), report.rows, strict=True):
        assert curves.lines[weights] == [(1, row["1_shot"]), (2, row["2_shot"]), (8, row["all"])]
    assert curves.lines["chance"] == [(1, report.chance), (8, report.chance)]


def test_draws_are_of_each_class_and_of_the_seed(monkeypatch):
    asked = []

    def record(train, classes, others):
        asked.append((train.copy(), classes))
        return np.zeros(len(others), dtype=np.int64)

    monkeypatch.setattr("vidssl_plugins.evaluators.low_shot.nearest", lambda: record)
    low_shot(classifier="knn", shots=[2], draws=2)
    low_shot(classifier="knn", shots=[2], draws=2)
    low_shot(classifier="knn", shots=[2], draws=2, seed=1)
    first, second, every = asked[:3]
    assert first[1].tolist() == second[1].tolist() == [0, 0, 1, 1, 2, 2]
    assert len(every[1]) == 24
    assert len(np.unique(first[0], axis=0)) == 6
    assert not np.array_equal(first[0], second[0])
    assert np.array_equal(first[0], asked[6][0])
    assert not np.array_equal(first[0], asked[12][0])


def test_more_labels_than_there_are():
    with pytest.raises(UsageError, match=r"needs 10 labelled .* smallest class has 8") as raised:
        low_shot()
    assert raised.value.hint == "--set shots=[1,2,5]"
