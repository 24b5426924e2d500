"""The retrieval protocol on made-up features."""

import numpy as np
import pytest
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.metrics import topk_hits
from vidssl_cli.contract.study import Layer
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import MadeUpStudy
from vidssl_plugins.evaluators.hooks import Retrieval

GALLERY = [[1, 0], [0.9, 0.1], [0, 1], [0.2, 0.8], [-1, 0]]
QUERIES = [[1, 0.05], [0.1, 1], [-1, 0.2]]


def videos(labels, split):
    return [
        Video(path=f"{split}{i}", label=name, split=split, frames=50)
        for i, name in enumerate(labels)
    ]


def study(gallery, queries, train, test, **settings):
    """Serve tables of features: (N, clips, 2) for the training videos, (Q, clips, 2) for others."""
    table = dict(zip([v.path for v in (*train, *test)], [*gallery, *queries], strict=True))

    def answer(weights, look, reading):
        return np.asarray(table[look.video.path])

    taps = {"pool4": 2, "pool5": 2}
    return MadeUpStudy(answer, train, test, weights=("run",), taps=taps, **settings)


def toy(**settings):
    """The five-item gallery of T-EV4, one clip a video."""
    return study(
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
    # The galleries are ranked 0 1 3 2 4, 2 3 1 0 4 and 4 2 3 1 0.
    precision = (1 / 2 + 2 / 4) / 2, 1 / 2, 1 / 3
    expected = {"top1": 0, "top2": 2 / 3, "top3": 1, "mAP": np.mean(precision)}
    (row,) = report.rows
    assert list(row) == ["weights", *expected]
    assert {key: row[key] for key in expected} == pytest.approx(expected)
    assert report.chance == pytest.approx((2 + 1 + 1) / 3 / 5)
    assert report.chances.keys() == {"top1", "top2", "top3", "mAP"}
    assert report.facts["gallery"] == 5
    assert report.facts["queries"] == 3


def test_standardised():
    (row,) = evaluate(toy(), topk=[1, 2, 3], standardise=True).rows
    assert row["top1"] == pytest.approx(2 / 3)
    assert row["top2"] == pytest.approx(2 / 3)
    assert row["top3"] == 1


def test_options_left_open_come_from_the_recipe():
    recipe = Evaluation(clips=4, tap="pool4", pool="gmp", standardise=True)
    recipe_says = toy(evaluation=recipe)
    report = evaluate(recipe_says)
    (looks, *_), readings, crops = recipe_says.asked[-1]
    assert (looks.frames.shape, readings, crops) == ((4, 16), [Layer("pool4", "gmp")], "centre")
    assert report.facts["standardise"] is True
    evaluate(recipe_says, clips=1, tap="pool5", pool="gap", standardise=False)
    (looks, *_), readings, _ = recipe_says.asked[-1]
    assert (looks.frames.shape, readings) == ((1, 16), [Layer("pool5", "gap")])


def test_video_level_averages_clips_and_clip_level_does_not():
    gallery = np.array([[[1, 0], [0, 1]], [[0.9, 0.1], [0.8, 0.2]]])  # means (.5, .5), (.85, .15)
    queries = np.array([[[1, 0], [0, 1]]])
    toys = study(gallery, queries, videos("ab", "train"), videos("a", "test"))
    by_video = evaluate(toys, clips=2, topk=[1])
    by_clip = evaluate(toys, clips=2, topk=[1], level="clip")
    assert by_video.rows[0]["top1"] == 1
    assert by_clip.rows[0]["top1"] == 1
    assert (by_clip.facts["queries"], by_clip.facts["gallery"]) == (2, 4)
    toys = study(gallery, np.array([[[0.9, 0.1], [0, 1]]]), toys.train, toys.test)
    assert evaluate(toys, clips=2, topk=[1], level="clip").rows[0]["top1"] == 0.5


def test_every_set_of_weights_has_a_row():
    toys = toy()
    toys.weights = ("run", "random")
    report = evaluate(toys)
    assert [row["weights"] for row in report.rows] == ["run", "random"]


@pytest.mark.parametrize("level", ["video", "clip"])
def test_agrees_with_brute_force(level):
    generator = np.random.default_rng(0)
    gallery, queries = generator.normal(size=(40, 3, 6)), generator.normal(size=(15, 3, 6))
    labels = [f"class {i % 7}" for i in range(40)]
    toys = study(gallery, queries, videos(labels, "train"), videos(labels[:15], "test"))
    (row,) = evaluate(toys, clips=3, level=level).rows

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
    report = evaluate(
        study([[[1, 0]]] * 5, [[[1, 0]]] * 3, videos("01120", "train"), videos("xyz", "test"))
    )
    assert report.rows[0]["top5"] == report.rows[0]["mAP"] == report.chance == 0
    assert report.facts["unanswerable"] == 3


def test_nothing_to_ask_or_no_such_tap():
    nothing = toy()
    nothing.test = []
    with pytest.raises(UsageError, match="0 labelled test videos"):
        evaluate(nothing)
    with pytest.raises(UsageError, match="no tap 'pool7'"):
        evaluate(toy(), tap="pool7")


@pytest.mark.parametrize(
    "options",
    [
        {"taps": ["pool4:max"]},
        {"topk": []},
        {"topk": [0]},
        {"clips": 0},
        {"level": "frame"},
        {"preset": "vidssl"},
    ],
)
def test_refuses(options):
    with pytest.raises(ValidationError):
        Retrieval(name="retrieval", **options)
