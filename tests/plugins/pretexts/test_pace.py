"""The pace sampler against the worked examples of the thesis, and its invariants."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.hooks import Pace
from vidssl_plugins.samplers.pace import pace_frames, pace_span

ALL_PACES = [Fraction(p) for p in ("1/4", "1/3", "1/2", "1", "2", "3", "4", "-1", "-3", "3/2")]


def sampler(**options):
    return Pace(name="pace", **options).build()


def video(frames):
    return Video(path="v.mp4", frames=frames)


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        ("1", list(range(6, 22))),
        ("2", list(range(6, 37, 2))),
        ("3", list(range(6, 52, 3))),
        ("4", list(range(6, 67, 4))),
        ("1/2", [6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13]),
        ("1/3", [6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 10, 11]),
        ("-2", list(range(36, 5, -2))),
    ],
)
def test_frames_from_start_6(pace, expected):
    assert pace_frames(6, Fraction(pace), 16, 100).tolist() == expected


def test_five_frames():
    assert pace_frames(0, Fraction(1, 2), 5, 100).tolist() == [0, 0, 1, 1, 2]
    assert pace_frames(10, Fraction(3), 5, 100).tolist() == [10, 13, 16, 19, 22]


def test_loops_to_the_first_frame():
    expected = [6, 10, 14, 18, 0, 4, 8, 12, 16, 0, 4, 8, 12, 16, 0, 4]
    assert pace_frames(6, Fraction(4), 16, 20).tolist() == expected


def walk(start, pace, frames, count):
    """Step by step: when the next frame would pass the end, go on from frame 0."""
    p, q = abs(pace.numerator), pace.denominator
    out, origin, k = [], start, 0
    while len(out) < frames:
        if origin + k * p // q > count - 1:
            origin, k = 0, 0
        out.append(origin + k * p // q)
        k += 1
    return out if pace > 0 else out[::-1]


@pytest.mark.parametrize("pace", ALL_PACES, ids=str)
def test_closed_form_equals_walking(pace):
    for count in range(1, 40):
        for start in range(count):
            assert pace_frames(start, pace, 16, count).tolist() == walk(start, pace, 16, count)


@pytest.mark.parametrize(
    ("pace", "frames", "span"),
    [
        ("1", 16, 16),
        ("2", 16, 31),
        ("3", 16, 46),
        ("4", 16, 61),
        ("-4", 16, 61),
        ("4", 64, 253),
        ("1/2", 16, 8),
        ("1/3", 16, 6),
    ],
)
def test_frames_needed(pace, frames, span):
    assert pace_span(Fraction(pace), frames) == span


@pytest.mark.parametrize(
    ("paces", "classes"),
    [
        ([1, 2, 3, 4], 4),
        ([1, 2, 3, 4, 5, 6], 6),
        ([1, 3, 5, 7], 4),
        ([1, 4, 7, 10], 4),
        (["1/4", "1/3", "1/2", 1], 4),
        (["1/3", "1/2", 1, 2, 3], 5),
        ([1, 2, 3, 4, -1, -2, -3, -4], 8),
    ],
)
def test_every_design_labels_by_rank(paces, classes):
    options = Pace(name="pace", paces=paces)
    ranked = sorted(Fraction(p) for p in paces)
    assert options.labels() == {"pace": classes}
    built, seen = options.build(), set()
    for epoch in range(200):
        plan = built.plan(video(1000), Draw(0, epoch, 0))
        (label,) = plan.labels["pace"]
        frames = plan.views[0].frames
        pace = ranked[label]
        forward = frames if pace > 0 else frames[::-1]
        steps = np.arange(16) * abs(pace.numerator) // pace.denominator
        assert (forward - forward[0]).tolist() == steps.tolist()
        seen.add(int(label))
    assert seen == set(range(classes))


def test_random_direction_is_not_in_the_label():
    built = sampler(direction="random")
    directions = Counter()
    for epoch in range(200):
        plan = built.plan(video(200), Draw(0, epoch, 0))
        step = plan.views[0].frames[1] - plan.views[0].frames[0]
        assert abs(step) == plan.labels["pace"][0] + 1
        directions[bool(step > 0)] += 1
    assert min(directions.values()) > 70  # of 100 expected; 4 standard deviations


def test_two_clips_draw_their_own_pace_or_share_one():
    def paces(pair):
        built = sampler(views=2, pair=pair)
        return [built.plan(video(200), Draw(0, e, 0)).labels["pace"] for e in range(100)]

    assert all(a == b for a, b in paces("same"))
    assert 10 < sum(a == b for a, b in paces("independent")) < 45  # 25 expected


def test_two_clips_start_at_different_places():
    plan = sampler(views=2, pair="same").plan(video(500), Draw(0, 0, 0))
    assert plan.views[0].frames[0] != plan.views[1].frames[0]


def test_a_clip_that_fits_does_not_loop():
    for epoch in range(300):
        plan = sampler(paces=[4]).plan(video(62), Draw(0, epoch, 0))
        assert all(b - a == 4 for a, b in pairwise(plan.views[0].frames))


def test_anywhere_starts_on_any_frame():
    built = sampler(paces=[4], start="anywhere")
    starts = {int(built.plan(video(62), Draw(0, e, 0)).views[0].frames[0]) for e in range(1500)}
    assert starts == set(range(62))


def test_short_videos_loop_or_are_rejected():
    assert sampler().rejects(video(1)) is None
    skipping = sampler(short_video="skip")
    assert skipping.rejects(video(61)) is None
    assert skipping.rejects(video(60)) == "60 frames; needs at least 61"
    assert "at least 1" in sampler().rejects(video(0))
    (view,) = sampler(paces=[4], short_video="clamp").plan(video(20), Draw(0, 0, 0)).views
    assert view.frames.tolist() == [0, 4, 8, 12, 16] + [19] * 11


@given(
    count=st.integers(1, 400),
    seed=st.integers(0, 2**32),
    frames=st.integers(2, 64),
    paces=st.lists(st.sampled_from(ALL_PACES), min_size=1, unique=True),
    start=st.sampled_from(["fits", "anywhere"]),
)
def test_invariants(count, seed, frames, paces, start):
    built = sampler(paces=paces, frames=frames, start=start, views=2)
    plan = built.plan(video(count), Draw(seed, 0, 0))
    for view, rank in zip(plan.views, plan.labels["pace"], strict=True):
        assert view.frames.shape == (frames,)
        assert 0 <= view.frames.min() <= view.frames.max() < count
        pace = sorted(paces)[rank]
        if pace_span(pace, frames) <= count and start == "fits":
            ordered = view.frames if pace > 0 else view.frames[::-1]
            assert (np.diff(ordered) >= 0).all()
            if pace.numerator == 1:  # slow: every frame is shown q times
                runs = list(Counter(ordered.tolist()).values())
                assert set(runs[:-1]) <= {pace.denominator}
    again = built.plan(video(count), Draw(seed, 0, 0))
    for a, b in zip(plan.views, again.views, strict=True):
        assert a.frames.tolist() == b.frames.tolist()


def test_paces_are_written_as_they_are_read():
    options = Pace(name="pace", paces=["1/3", 1, "-2", "4/2"])
    assert options.model_dump(mode="json")["paces"] == ["1/3", 1, -2, 2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"paces": [0.5]}, "fraction like 1/3"),
        ({"paces": [0]}, "single frame"),
        ({"paces": []}, "at least 1 item"),
        ({"paces": [1, "2/2"]}, "not all different"),
        ({"paces": ["fast"]}, "fraction"),
        ({"paces": [1, -1], "direction": "random"}, "are no classes"),
        ({"views": 3}, "1 or 2"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Pace(name="pace", **options)
