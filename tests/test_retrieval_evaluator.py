"""The retrieval protocol on made-up features."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from vidssl_cli.errors import UsageError
from vidssl_cli.metrics import topk_hits
from vidssl_cli.recipe import Evaluation
from vidssl_cli.videos import Video
from vidssl_plugins.evaluators.hooks import Retrieval

GALLERY = [[1, 0], [0.9, 0.1], [0, 1], [0.2, 0.8], [-1, 0]]
QUERIES = [[1, 0.05], [0.1, 1], [-1, 0.2]]


def videos(labels, split):
    return [Video(path=f"{split}{i}", label=name, split=split) for i, name in enumerate(labels)]


@dataclass
class Study:
    """Serves one table of features for each split, and remembers what was asked for."""

    gallery: np.ndarray
    queries: np.ndarray
    train: list
    test: list
    evaluation: Evaluation = field(default_factory=Evaluation)
    weights: tuple = ("run",)
    folder: None = None
    asked: tuple = ()

    taps = {"pool4": 2, "pool5": 2}  # noqa: RUF012

    def features(self, weights, videos, clips, tap, pool):
        self.asked = (clips, tap, pool)
        return np.asarray(self.gallery if videos is self.train else self.queries, np.float32)


def toy(**settings):
    """The five-item gallery of T-EV4, one clip a video."""
    return Study(
        np.array(GALLERY)[:, None],
        np.array(QUERIES)[:, None],
        videos("01120", "train"),
        videos("122", "test"),
        **settings,
    )


def evaluate(study, **options):
    return Retrieval(name="retrieval", **options).build()(study)


def test_video_level():
    report = evaluate(toy(), topk=[3, 1, 2])
    expected = {"weights": "run", "top1": 0, "top2": pytest.approx(2 / 3), "top3": 1}
    assert report.rows == [expected]
    assert list(report.rows[0]) == ["weights", "top1", "top2", "top3"]
    assert report.chance == pytest.approx((2 + 1 + 1) / 3 / 5)
    assert report.chances.keys() == {"top1", "top2", "top3"}
    assert report.facts["gallery"] == 5
    assert report.facts["queries"] == 3


def test_standardised():
    (row,) = evaluate(toy(), topk=[1, 2, 3], standardise=True).rows
    assert row["top1"] == pytest.approx(2 / 3)
    assert row["top2"] == pytest.approx(2 / 3)
    assert row["top3"] == 1


def test_options_left_open_come_from_the_recipe():
    recipe = Evaluation(clips=4, tap="pool4", pool="gmp", standardise=True)
    study = toy(evaluation=recipe)
    report = evaluate(study)
    assert study.asked == (4, "pool4", "gmp")
    assert report.facts["standardise"] is True
    evaluate(study, clips=1, tap="pool5", pool="gap", standardise=False)
    assert study.asked == (1, "pool5", "gap")


def test_video_level_averages_clips_and_clip_level_does_not():
    gallery = np.array([[[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]]])  # means (.5, .5), (.85, .15)
    queries = np.array([[[1, 0], [0, 1]]])
    study = Study(gallery, queries, videos("ab", "train"), videos("a", "test"))
    by_video = evaluate(study, clips=2, topk=[1])
    by_clip = evaluate(study, clips=2, topk=[1], level="clip")
    assert by_video.rows[0]["top1"] == 1
    assert by_clip.rows[0]["top1"] == 1
    assert (by_clip.facts["queries"], by_clip.facts["gallery"]) == (2, 4)
    study = Study(gallery, np.array([[[0.9, 0.1], [0, 1]]]), study.train, study.test)
    assert evaluate(study, clips=2, topk=[1], level="clip").rows[0]["top1"] == 0.5


def test_every_set_of_weights_has_a_row():
    report = evaluate(toy(weights=("run", "random")))
    assert [row["weights"] for row in report.rows] == ["run", "random"]


@pytest.mark.parametrize("level", ["video", "clip"])
def test_agrees_with_brute_force(level):
    generator = np.random.default_rng(0)
    gallery, queries = generator.normal(size=(40, 3, 6)), generator.normal(size=(15, 3, 6))
    labels = [f"class {i % 7}" for i in range(40)]
    study = Study(gallery, queries, videos(labels, "train"), videos(labels[:15], "test"))
    (row,) = evaluate(study, clips=3, level=level).rows

    repeats = 3 if level == "clip" else 1
    shape = (-1, repeats, 3 // repeats, 6)
    items, asked = (f.reshape(shape).mean(2).reshape(-1, 6) for f in (gallery, queries))
    owners = np.repeat(np.arange(40) % 7, repeats)
    distance = [[1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in items] for a in asked]
    hits = topk_hits(
        np.argsort(distance, axis=1), np.repeat(np.arange(15) % 7, repeats), owners, (1, 5, 10)
    )
    assert {key: row[key] for key in hits} == pytest.approx(hits)


def test_a_class_without_training_videos_is_never_hit():
    study = toy()
    study.test = videos("xyz", "test")
    report = evaluate(study)
    assert report.rows[0]["top50"] == 0
    assert report.chance == 0


def test_nothing_to_ask_or_no_such_tap():
    study = toy()
    study.test = []
    with pytest.raises(UsageError, match="0 labelled test videos"):
        evaluate(study)
    with pytest.raises(UsageError, match="no tap 'pool7'"):
        evaluate(toy(), tap="pool7")


@pytest.mark.parametrize("options", [{"topk": []}, {"topk": [0]}, {"clips": 0}, {"level": "frame"}])
def test_refuses(options):
    with pytest.raises(ValidationError):
        Retrieval(name="retrieval", **options)
