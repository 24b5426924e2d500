"""Health: features made to be collapsed, spread, merely colour, or as before training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.sections import Evaluation
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import TAPS, MadeUpStudy, clouds, noise
from vidssl_plugins.evaluators.health_measures import (
    alignment,
    effective_rank,
    neighbours,
    overlap,
    uniformity,
)
from vidssl_plugins.evaluators.hooks import Health


def evaluate(study, **options):
    return Health(name="health", **options).build()(study)


def verdicts(report):
    return {question: answer for question, answer, _ in report.tables[0].rows}


def videos(count=40):
    """Without labels and splits."""
    return [Video(f"{number}.mp4", frames=100) for number in range(count)]


def study(answer, **settings):
    return MadeUpStudy(answer, videos(), [], **settings)


# The quantities.


def test_effective_rank_by_hand():
    # Two directions with three quarters and one quarter of the variance.
    features = np.array([[3.0, 0, 5], [-3, 0, 5], [0, 3**0.5, 5], [0, -(3**0.5), 5]])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert effective_rank(features) == pytest.approx(np.exp(entropy))


@given(directions=st.integers(1, 6), turn=st.integers(0, 100))
def test_equal_directions_are_counted_however_they_lie(directions, turn):
    generator = np.random.default_rng(turn)
    basis, _ = np.linalg.qr(generator.normal(size=(8, 8)))
    corners = np.concatenate([np.eye(8)[:directions], -np.eye(8)[:directions]])
    features = 7 * corners @ basis + generator.normal(size=8)
    assert effective_rank(features) == pytest.approx(directions)


def test_effective_rank_of_one_point_is_none():
    assert effective_rank(np.full((5, 3), 0.1)) == 0
    assert (
        effective_rank(np.full((5, 3), 0.1) + 1e-9 * np.random.default_rng(0).random((5, 3))) == 0
    )


def test_more_dimensions_than_clips():
    features = np.random.default_rng(0).normal(size=(6, 50))
    padded = np.concatenate([features, np.zeros((6, 50))], 1)
    assert effective_rank(features) == pytest.approx(effective_rank(padded))
    assert 3 < effective_rank(features) <= 5


def test_alignment_and_uniformity_by_hand():
    right, up = [2.0, 0], [0, 0.5]
    assert alignment([np.array([right, right]), np.array([right, up])]) == pytest.approx(
        (0 + 2) / 2
    )
    assert alignment([np.array([right, up, right])]) == pytest.approx(4 / 3)
    assert uniformity(np.array([right, up])) == pytest.approx(-4)
    assert uniformity(np.array([right, right, up])) == pytest.approx(
        np.log((1 + 2 * np.exp(-4)) / 3)
    )
    assert uniformity(np.array([right] * 3)) == 0


def test_overlap_of_neighbours():
    line = np.array([[0.0, 1], [0.1, 1], [5, 1], [5.1, 1]])
    assert neighbours(line, 1)[:, 0].tolist() == [1, 0, 3, 2]
    crossed = line[[0, 2, 1, 3]]
    assert neighbours(crossed, 1)[:, 0].tolist() == [2, 3, 0, 1]
    assert overlap(neighbours(line, 1), neighbours(crossed, 1)) == 0
    assert overlap(neighbours(line, 2), neighbours(line, 2)) == 1


def test_none_is_its_own_neighbour_among_equals():
    equals = np.array([[1.0, 0]] * 5 + [[0, 1]])
    found = neighbours(equals, 2)
    assert found.shape == (6, 2)
    assert not (found == np.arange(6)[:, None]).any()


# What it says of features made for it.


def spread(weights, look, reading):
    """Tell every video apart by numbers of its own; its clips differ a little."""
    random = np.random.default_rng([*weights.encode(), *look.video.path.encode()])
    return random.normal(size=TAPS[reading.tap]) + 0.1 * clouds("random", look, reading)


def point(weights, look, reading):
    return 1e-8 * spread(weights, look, reading) + 3


def one_line(weights, look, reading):
    return spread(weights, look, reading)[:, :1] * np.arange(1, 1 + TAPS[reading.tap])


def test_spread_features_are_healthy():
    report = evaluate(study(spread))
    assert set(verdicts(report).values()) == {"no"}
    run, random = report.rows
    assert run["effective_rank"] > 0.5
    assert run["live"] == 1
    assert run["colour"] < 0.4
    assert random["random_weights"] == 1
    assert report.chances["colour"] == pytest.approx(10 / 39)


@pytest.mark.parametrize(("answer", "most"), [(point, 0), (one_line, 1.01 / 32)])
def test_collapsed_features_are_told(answer, most):
    report = evaluate(study(lambda w, *seen: (answer if w == "run" else spread)(w, *seen)))
    assert verdicts(report)["is it collapsed?"] == "yes"
    run, random = report.rows
    assert run["effective_rank"] <= most
    assert random["effective_rank"] > 0.5


def test_a_point_has_neighbours_by_chance_alone():
    report = evaluate(study(lambda w, *seen: (point if w == "run" else spread)(w, *seen)))
    run, _ = report.rows
    assert run["live"] == 0
    assert run["colour"] == run["random_weights"] == pytest.approx(10 / 39)
    assert verdicts(report)["are dimensions dead?"] == "most"


def test_dead_dimensions_are_counted():
    def half(weights, look, reading):
        return spread(weights, look, reading) * (np.arange(TAPS[reading.tap]) % 2)

    report = evaluate(study(half))
    assert report.rows[0]["live"] == 0.5
    assert verdicts(report)["are dimensions dead?"] == "some"


@pytest.mark.parametrize("name", ["colour", "one_frame"])
def test_what_is_merely_colour_is_told(name):
    def colourful(weights, look, reading):
        hand = noise(name, look.video).repeat(TAPS[reading.tap] // 8)
        return (hand if weights == "run" else 0) + 0.1 * spread("random", look, reading)

    report = evaluate(study(colourful))
    assert verdicts(report)["is it merely colour?"] == "yes"
    assert verdicts(report)["is it as before training?"] == "no"
    assert verdicts(report)["is it collapsed?"] == "no"


def test_a_few_large_dimensions_are_no_collapse():
    def uneven(weights, look, reading):
        scale = np.where(np.arange(TAPS[reading.tap]) < 2, 50, 1)
        return spread(weights, look, reading) * scale

    report = evaluate(study(uneven))
    assert report.rows[0]["effective_rank"] < 2.1 / 32
    assert verdicts(report)["is it collapsed?"] == "no"


def test_one_large_dimension_beside_dead_ones_is():
    def single(weights, look, reading):
        scale = np.where(np.arange(TAPS[reading.tap]) < 1, 1, 1e-4)
        return spread(weights, look, reading) * scale

    assert verdicts(evaluate(study(single)))["is it collapsed?"] == "yes"


def test_what_is_as_before_training_is_told():
    report = evaluate(study(lambda weights, *seen: spread("random", *seen)))
    assert verdicts(report)["is it as before training?"] == "yes"
    assert verdicts(report)["is it merely colour?"] == "no"


def test_variance_by_direction_rises_to_all_of_it():
    (curves,) = evaluate(study(spread)).figures
    shares = [share for _, share in curves.lines["run"]]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)


def test_looks_at_so_many_videos_evenly():
    made_up = study(spread)
    report = evaluate(made_up, videos=8)
    seen = [look.video.path for look in made_up.asked[0][0]]
    assert seen == [f"{number}.mp4" for number in range(0, 40, 5)]
    assert (report.facts["videos"], report.facts["neighbours"]) == (8, 3)


def test_too_little_to_compare():
    with pytest.raises(UsageError, match="needs three videos; there are 2"):
        evaluate(MadeUpStudy(spread, videos(2), []))
    with pytest.raises(UsageError, match="needs two of each"):
        evaluate(study(spread, evaluation=Evaluation(clips=1)))
    with pytest.raises(ValidationError):
        Health(name="health", clips=1)
