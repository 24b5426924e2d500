"""Likeness under temporal augmentation and over time, on made-up networks, by hand."""

from math import sqrt

import numpy as np
import pytest
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.videos import Video
from vidssl_cli.evaluation.made_up import MadeUpStudy
from vidssl_plugins.evaluators.hooks import Invariance
from vidssl_plugins.evaluators.invariance_measures import (
    between,
    cosines_of_pairs,
    distribution,
    interval,
    over_distance,
    separation,
    within,
)

RIGHT, UP, LEFT, SLANTED = [2.0, 0], [0, 0.5], [-1.0, 0], [3.0, 4]
"""Cosines with RIGHT: 1, 0, -1, 0.6."""


def videos(count=6, frames=100):
    return [Video(f"{number}.mp4", frames=frames, fps=25.0) for number in range(count)]


def evaluate(answer, of=None, **options):
    study = MadeUpStudy(answer, of or videos(), [])
    return Invariance(name="invariance", **options).build()(study), study


# The quantities.


def test_cosines_of_pairs_by_hand():
    clips = np.array([RIGHT, SLANTED, UP, SLANTED, LEFT, RIGHT])
    assert cosines_of_pairs(clips) == pytest.approx([0.6, 0.8, -1])


def test_within_and_between_by_hand():
    one, other = np.array([RIGHT, UP, SLANTED]), np.array([LEFT, UP])
    assert within(one) == pytest.approx((0 + 0.6 + 0.8) / 3)
    assert within(other) == pytest.approx(0)
    # RIGHT with LEFT and UP: -1, 0; UP: 0, 1; SLANTED: -0.6, 0.8.
    assert between(one, other) == pytest.approx((-1 + 0 + 0 + 1 - 0.6 + 0.8) / 6)


def test_separation_counts_pairs():
    assert separation([0.9, 0.5], [0.5, 0.1]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)
    assert separation([1, 1], [1, 1]) == 0.5


def test_cosines_over_distance_by_hand():
    """Two videos, whose clips begin at 0, 10, 40 and at 0, 5, 20, of 40 and 20 frames of room.

    Relative distances are 0.25, 0.75 and 1 in both.
    """
    clips = [np.array([RIGHT, SLANTED, UP]), np.array([RIGHT, RIGHT, LEFT])]
    starts = [np.array([0, 10, 40]), np.array([0, 5, 20])]
    points = over_distance(clips, starts)
    assert [point.x for point in points] == [0.25, 0.75, 1]
    assert [point.mean for point in points] == pytest.approx(
        [(0.6 + 1) / 2, (0.8 - 1) / 2, (0 - 1) / 2]
    )
    # Of two values, the standard error of the mean is half of their difference.
    halves = [1.96 * each / 2 for each in (0.4, 1.8, 1)]
    assert [point.high - point.mean for point in points] == pytest.approx(halves)
    assert [point.mean - point.low for point in points] == pytest.approx(halves)


def test_a_video_counts_once_for_a_distance_whatever_its_number_of_pairs():
    """Three clips have two pairs at half the distance, two clips one at all of it."""
    clips = [np.array([RIGHT, RIGHT, UP]), np.array([RIGHT, LEFT])]
    half, whole = over_distance(clips, [np.array([0, 3, 6]), np.array([0, 7])])
    assert (half.x, half.mean, half.low) == (0.5, pytest.approx(0.5), pytest.approx(0.5))
    assert (whole.x, whole.mean) == (1, pytest.approx((0 - 1) / 2))


def test_an_interval_by_hand():
    point = interval(3, [0.1, 0.2, 0.6])
    assert point.mean == pytest.approx(0.3)
    error = sqrt((0.04 + 0.01 + 0.09) / 2 / 3)
    assert (point.low, point.high) == pytest.approx((0.3 - 1.96 * error, 0.3 + 1.96 * error))


def test_a_distribution_by_hand():
    found = distribution([1, 0.96, 0.9, 0.85])
    assert [x for x, _ in found] == pytest.approx([0.825, 0.875, 0.925, 0.975, 1.025])
    assert [share for _, share in found] == [0, 0.25, 0.25, 0.5, 0]
    assert distribution([-0.01]) == [
        (pytest.approx(x), share) for x, share in ((-0.075, 0), (-0.025, 1), (0.025, 0))
    ]


# What it says of features made for it.


def turn(angles):
    return np.stack([np.cos(angles), np.sin(angles)], 1)


def clock(weights, look, reading):
    """Turn by a hundredth of a radian a frame, from a direction of the video; else no clip differs.

    Two clips of one video that begin n frames apart have the cosine cos(n / 100).
    """
    if weights == "random":
        return np.ones((len(look.frames), 2))
    return turn(look.frames[:, 0] / 100 + np.pi / 2 * (int(look.video.path[0]) % 2))


def test_features_that_tell_the_time():
    report, study = evaluate(clock, clips=3, pairs=2, strengths=(8, 4))
    run, random = report.rows
    # Clips of 16 frames of 100 begin at 0, 42 and 84.
    near, far = np.cos(0.42), np.cos(0.84)
    assert random == {"weights": "random", "separation": 0.5}
    means, table = report.tables
    assert means.rows[0][:2] == ["run", round((2 * near + far) / 3, 4)]
    assert means.rows[1] == ["random", 1, 1]
    augmented, bars, _, distant = report.figures
    assert distant.lines["run"] == [(0.5, pytest.approx(near)), (1, pytest.approx(far))]
    assert distant.bands["run"] == [(pytest.approx(y), pytest.approx(y)) for y in (near, far)]
    assert bars.title == "cosines within and between videos, run weights"
    assert list(bars.lines) == ["within a video", "between videos"]
    assert max(bars.lines["within a video"], key=lambda bar: bar[1]) == (pytest.approx(0.825), 1)
    assert [x for x, _ in augmented.lines["run"]] == [4, 8]
    ((looks, *_), _) = study.asked
    for place, (strength, dropped) in enumerate([(4, 1), (8, 2)]):
        sets = looks[place : 2 * 6 : 2]
        delays = [np.diff(each.frames[:, 0])[::2] for each in sets]
        expected = np.cos(np.abs(delays) / 100).mean()
        assert augmented.lines["run"][place][1] == pytest.approx(expected)
        assert table.rows[place] == [strength, dropped, round(expected, 4), 1.0]
    assert run["separation"] > 0.5


def test_videos_of_their_own_direction_are_told_apart():
    def own(weights, look, reading):
        return np.tile(np.eye(6)[int(look.video.path[0])], (len(look.frames), 1))

    report, _ = evaluate(own, clips=4, pairs=1)
    assert report.rows[0]["separation"] == 1
    assert report.tables[0].rows[0] == ["run", 1, 0]
    assert report.chances == {"separation": 0.5}


@pytest.mark.parametrize("stride", [1, 3])
def test_both_clips_of_a_pair_lack_frames_of_one_stretch(stride):
    """At a buffer of 12, SSTL drops 4 and crops the rest: 16 of 28 frames remain."""
    _, study = evaluate(clock, strengths=(12,), pairs=20, stride=stride, clips=2)
    ((looks, *_), _) = study.asked
    pairs, spaced = looks[:6], looks[6:]
    for look in pairs:
        assert look.frames.shape == (40, 16)
        steps = np.diff(look.frames) // stride
        assert set(np.unique(steps)) == {1, 2}  # no two dropped frames are adjacent
        assert (steps == 2).sum(1).max() == 4
        both = look.frames.reshape(20, -1)
        assert (np.ptp(both, axis=1) <= 27 * stride).all()
        assert look.frames.min() >= 0
        assert look.frames.max() < 100
        assert len(set(both.min(1))) > 3
    last = 100 - 15 * stride - 1
    assert {tuple(look.frames[:, 0]) for look in spaced} == {(0, last)}


def test_draws_belong_to_the_seed():
    def drawn(seed):
        _, study = evaluate(clock, seed=seed, clips=2)
        return [look.frames for look in study.asked[0][0]]

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not (first[0] == other[0]).all()


def test_short_videos_have_fewer_clips_or_are_left_out_and_counted():
    """The strongest augmentation needs 32 frames; 33 have 18 places of a clip."""
    several = [*videos(2, frames=33), *videos(3, frames=31)]
    report, study = evaluate(clock, several)
    assert (report.facts["videos"], report.facts["videos too short"]) == (2, 3)
    spaced = study.asked[0][0][-2:]
    assert [look.frames[:, 0].tolist() for look in spaced] == [list(range(18))] * 2
    with pytest.raises(UsageError, match="1 of 4 videos have 32 frames"):
        evaluate(clock, several[1:])


def test_looks_at_so_many_videos_evenly():
    report, study = evaluate(clock, videos(9), videos=3)
    assert [look.video.path for look in study.asked[0][0][-3:]] == ["0.mp4", "3.mp4", "6.mp4"]
    assert report.facts["videos"] == 3


def test_options_that_cannot_be():
    for wrong in ({"strengths": ()}, {"strengths": (0,)}, {"dropout": 1.5}, {"clips": 1}):
        with pytest.raises(ValidationError):
            Invariance(name="invariance", **wrong)


def test_all_of_the_buffer_may_be_dropped():
    _, study = evaluate(clock, strengths=(4, 40), dropout=1, clips=2, pairs=1)
    steps = np.diff(study.asked[0][0][0].frames)
    assert (steps.sum(1) <= 19).all()
