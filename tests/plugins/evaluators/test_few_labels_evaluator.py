"""MVEB's classification against what mteb itself finds, on features by a formula."""

import numpy as np
import pytest

from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import MadeUpStudy, labelled
from vidssl_plugins.evaluators.hooks import FewLabels

MTEB = {
    (2, 90): {"accuracy": 0.645714, "f1": 0.617168, "ap": 0.382560},
    (3, 90): {"accuracy": 0.455714, "f1": 0.430641},
    (3, 30): {"accuracy": 0.440000, "f1": 0.386201},
}
"""By classes and training videos, the last with but five of one class: what mteb 2.26.24 reports
(`AbsTaskClassification.evaluate`, scikit-learn 1.9.1) where an encoder returns the features of
`formula` for 70 test videos."""
RIGHT = [27, 34, 27, 34, 29, 28, 28, 38, 33, 30]
"""Test videos that are right there in each draw of the last."""


def formula(number, classes):
    """Return features (6,) and the class of a video: waves, raised where the class is."""
    label = number * number % 7 % classes
    waves = np.sin(number * np.array([1.7, 2.9, 3.1, 4.7, 5.3, 6.1]))
    return waves + 0.6 * np.eye(6)[label], label


def study(classes, train):
    def videos(split, first, count):
        return [
            Video(str(n), label=str(formula(n, classes)[1]), split=split, frames=100, fps=25.0)
            for n in range(first, first + count)
        ]

    def answer(weights, clip_set, layer):
        features, _ = formula(int(clip_set.video.path), classes)
        return np.tile(features, (len(clip_set.frames), 1))

    return MadeUpStudy(answer, videos("train", 0, train), videos("test", 1000, 70), ("run",))


def few_labels(made_up, **options):
    return FewLabels(name="few_labels", **options).build()(made_up)


@pytest.mark.parametrize(("classes", "train"), MTEB)
def test_scores_are_those_of_mteb(classes, train):
    (row,) = few_labels(study(classes, train)).rows
    assert row == {"weights": "run"} | {
        name: pytest.approx(value, abs=1e-3) for name, value in MTEB[classes, train].items()
    }


def test_each_draw_is_that_of_mteb():
    for draws in (1, 4, 10):
        (row,) = few_labels(study(3, 30), draws=draws).rows
        assert row["accuracy"] == pytest.approx(np.mean(RIGHT[:draws]) / 70)


def test_chance_names_the_commonest_class():
    report = few_labels(MadeUpStudy(train=labelled("train", 8), test=labelled("test", 4)), draws=2)
    assert report.chance == report.chances["accuracy"] == pytest.approx(1 / 3)
    assert report.chances["f1"] == pytest.approx(1 / 6)
    run, random = report.rows
    assert run["accuracy"] == run["f1"] == 1 > random["f1"]
    assert report.facts["shots"] == 8
    assert [row[:2] for row in report.tables[0].rows] == [
        ["run", "accuracy"], ["run", "f1"], ["random", "accuracy"], ["random", "f1"],
    ]  # fmt: skip
