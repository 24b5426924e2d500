"""Evenly spaced clips for evaluation (T-EV1) and random windows for training."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.contract.clips import Draw, Windows, known_frames, uniform_starts
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.hooks import Uniform


@pytest.mark.parametrize(
    ("count", "starts"),
    [
        (100, [0, 9, 18, 28, 37, 46, 56, 65, 74, 84]),
        (20, [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]),
        (16, [0] * 10),
        (5, [0] * 10),
    ],
)
def test_uniform_starts(count, starts):
    assert uniform_starts(count, 16, 10).tolist() == starts


def test_a_single_clip_lies_in_the_middle():
    assert uniform_starts(100, 16, 1).tolist() == [42]


def test_clips_with_a_stride_use_their_span():
    clips = Windows(clips=2, stride=4).of(100, 16)
    assert clips.tolist() == [list(range(0, 61, 4)), list(range(39, 100, 4))]


def test_a_short_video_is_played_at_the_largest_stride_that_fits():
    assert Windows(clips=1, stride=4).of(40, 16)[0].tolist() == list(range(4, 35, 2))


def test_a_very_short_video_repeats_its_last_frame():
    assert Windows(clips=2, stride=2).of(3, 5).tolist() == [[0, 1, 2, 2, 2]] * 2


@given(st.integers(1, 500), st.integers(1, 12), st.integers(1, 64), st.integers(1, 16))
def test_clips_stay_inside_the_video(count, clips, frames, stride):
    planned = Windows(clips=clips, stride=stride).of(count, frames)
    assert planned.shape == (clips, frames)
    assert planned.dtype == np.int64
    assert planned.min() == 0 or clips == 1
    assert planned.max() < count
    assert (np.diff(planned, axis=1) >= 0).all()


@pytest.mark.parametrize(
    ("count", "starts"),
    [(50, [0, 8, 16, 24, 32]), (16, [0]), (23, [0]), (24, [0, 8]), (7, [0])],
)
def test_overlapping_clips(count, starts):  # the first is T-EV2
    assert Windows("overlap", hop=8).of(count, 16)[:, 0].tolist() == starts


@pytest.mark.parametrize(
    ("count", "step", "clips"), [(40, 1, 25), (47, 1, 32), (78, 1, 63), (79, 2, 32), (175, 5, 32)]
)
def test_dense_clips_start_every_so_many_frames(count, step, clips):
    planned = Windows("dense", clips=32).of(count, 16)
    assert planned[:, 0].tolist() == [step * i for i in range(clips)]


def test_training_windows_start_anywhere_that_fits():
    built = Uniform(name="uniform", frames=4, stride=3).build()
    starts = set()
    for epoch in range(200):
        (view,) = built.plan(Video(path="v", frames=15), Draw(0, epoch, 0)).views
        assert np.diff(view.frames).tolist() == [3, 3, 3]
        starts.add(int(view.frames[0]))
    assert starts == set(range(6))


def test_training_windows_of_a_video_are_drawn_by_themselves():
    built = Uniform(name="uniform", views=3).build()
    plan = built.plan(Video(path="v", frames=10_000), Draw(0, 0, 0))
    assert len({int(view.frames[0]) for view in plan.views}) == 3


def test_a_video_without_facts_is_named():
    with pytest.raises(ValueError, match=r"a\.mp4 has no frame count"):
        known_frames(Video(path="a.mp4"))
