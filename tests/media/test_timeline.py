"""Seconds come from timestamps, whatever order, gaps and jumps these have."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.contract.videos import FASTEST, SLOWEST
from vidssl_cli.media import timeline as module
from vidssl_cli.media.timeline import read_timeline


@pytest.mark.parametrize(
    ("timestamps", "expected"),
    [
        ([0], "steady"),
        ([0, 33, 67, 100, 133], "steady"),  # 30 fps in milliseconds
        ([0, 1, 2, 3], "steady"),
        ([0, 40, 80, 160, 200], "variable"),
        ([0, 1, 2, 4, 5, 6], "variable"),  # AVI counts in frames: one was dropped
        ([0, 2, 1, 3], "out of order"),
        ([0, 1, 1, 2], "out of order"),
        ([0, None, 2], "missing"),
        ([0, 1, 2, 3, 500_000, 500_001], "jumps"),
        ([*range(1000, 1020), *range(20)], "jumps"),
    ],
)
def test_timing(timestamps, expected):
    assert read_timeline(timestamps, 1e-3, 1000).timing == expected


def test_the_declared_rate_stands_if_it_puts_every_frame_in_its_place():
    steps = [round(1000 * number / 30) for number in range(300)]
    assert read_timeline(steps, 1e-3, 30).fps == 30
    assert read_timeline(steps, 1e-3, 30.5).fps == pytest.approx(30, rel=1e-4)
    assert read_timeline(steps, 1e-3, 0).fps == pytest.approx(30, rel=1e-4)


def test_two_rates_are_two_lines():
    """Ten seconds at 2 frames a second, then four at 30."""
    ticks = [300 * number for number in range(20)] + [6000 + 20 * number for number in range(120)]
    timeline = read_timeline(ticks, 1 / 600, 10.0)
    assert timeline.times == ((0, 0.0), (20, 10.0), (139, pytest.approx(13.966667)), (140, 14.0))
    assert (timeline.timing, timeline.duration) == ("variable", pytest.approx(14))


@pytest.mark.parametrize("jump", [3600 * 25, -97])
def test_joined_recordings_go_on_after_a_usual_step(jump):
    ticks = [*range(100), *range(100 + jump, 200 + jump)]
    timeline = read_timeline(ticks, 1 / 25, 25.0)
    assert (timeline.timing, timeline.fps, timeline.duration) == ("jumps", 25, 8)
    assert timeline.problem == "time: its timestamps jump 1 time; each counts as a usual step"


def test_a_picture_that_stands_still_for_seconds_is_no_jump():
    ticks = [*range(100), *range(300, 400)]  # eight seconds
    timeline = read_timeline(ticks, 1 / 25, 25.0)
    assert (timeline.timing, timeline.duration, timeline.problem) == ("variable", 16, "")


def test_one_picture_a_minute_does_not_jump():
    timeline = read_timeline([60 * number for number in range(50)], 1.0, 25.0)
    assert (timeline.timing, timeline.fps) == ("steady", pytest.approx(1 / 60))


def test_neighbours_out_of_order_are_sorted():
    ticks = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8]
    timeline = read_timeline(ticks, 1 / 25, 25.0)
    assert (timeline.timing, timeline.fps, timeline.times) == ("out of order", 25, ())


@pytest.mark.parametrize("step", [0, 1])
def test_timestamps_that_tell_nothing_are_not_believed(step):
    timeline = read_timeline([step * number for number in range(20)], 1e-7, 1e7)
    assert (timeline.fps, timeline.duration) == (25, 20 / 25)
    assert "25 fps are assumed" in timeline.problem


@pytest.mark.parametrize("declared", [0.0, 1e7, 1e-9])
def test_a_rate_that_no_row_may_have_is_not_taken_from_the_header(declared):
    assert read_timeline([None, None], 1.0, declared).fps == 25


@given(
    steps=st.lists(st.integers(-50, 5000), min_size=1, max_size=80),
    tick=st.sampled_from([1e-3, 1 / 90_000, 1 / 25]),
)
def test_any_timestamps_give_times_that_rise_and_bounds_that_hold(steps, tick):
    ticks = np.cumsum([7, *steps]).tolist()
    timeline = read_timeline(ticks, tick, 25.0)
    assert SLOWEST <= timeline.fps <= FASTEST
    assert timeline.duration > 0
    if timeline.times:
        numbers, seconds = zip(*timeline.times, strict=True)
        assert (numbers[0], seconds[0]) == (0, 0)
        assert (numbers[-1], seconds[-1]) == (
            len(ticks),
            pytest.approx(timeline.duration, abs=1e-6),
        )
        assert (np.diff(numbers) > 0).all()
        assert (np.diff(seconds) >= 0).all()


@given(st.lists(st.integers(1, 400), min_size=4, max_size=80))
def test_no_frame_is_further_than_a_quarter_of_a_step_from_its_time(steps):
    ticks = np.cumsum([0, *steps])
    timeline = read_timeline(ticks.tolist(), 1e-3, 0.0)
    numbers = np.arange(len(ticks))
    if timeline.times:
        found = np.interp(numbers, *zip(*timeline.times, strict=True))
    else:
        found = numbers / timeline.fps
    usual = float(np.median(steps))
    assert np.abs(found - ticks / 1e3).max() <= max(1, usual / 4) * 1e-3 + 1e-6


def test_a_table_has_no_more_rows_than_it_may(monkeypatch):
    monkeypatch.setattr(module, "_MOST_KNOTS", 50)
    draw = random.Random(0)
    ticks = np.cumsum([draw.choice((10, 100)) for _ in range(1000)]).tolist()
    timeline = read_timeline(ticks, 1e-3, 0.0)
    assert 2 < len(timeline.times) <= 51
