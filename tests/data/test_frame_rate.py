"""Videos at a common frame rate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidssl_cli.config.sections import Input
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.frame_rate import AtRate, at_rate, build_sampler, stored_frames
from vidssl_plugins.samplers.hooks import Pace, TemporalTransforms, TimeEquivariant


def video(frames=100, fps=50.0):
    return Video("v.mp4", frames=frames, fps=fps)


def test_a_faster_file_shows_every_second_frame():
    assert at_rate(video(), 25).frames == 50
    assert stored_frames(video(), 25, np.arange(4)).tolist() == [1, 3, 5, 7]


def test_a_slower_file_repeats_frames():
    slow = video(10, 12.5)
    assert at_rate(slow, 25).frames == 20
    assert stored_frames(slow, 25, np.arange(6)).tolist() == [0, 0, 1, 1, 2, 2]


def test_the_own_rate_changes_nothing():
    assert stored_frames(video(), 50, np.arange(100)).tolist() == list(range(100))


@given(frames=st.integers(1, 400), own=st.floats(5, 120), fps=st.floats(5, 120))
def test_frames_lie_in_the_video_in_order(frames, own, fps):
    source = video(frames, own)
    count = at_rate(source, fps).frames
    stored = stored_frames(source, fps, np.arange(count))
    assert stored.min() >= 0
    assert stored.max() < frames
    assert (np.diff(stored) >= 0).all()
    seconds = np.abs((stored + 0.5) / own - (np.arange(count) + 0.5) / fps)
    assert seconds.max() <= 1.01 * max(0.5 / own, 0.5 / fps) + 0.5 / own


def test_files_of_two_rates_give_clips_of_one_duration():
    options = Pace(name="pace", paces=[2], frames=8)
    sampler = build_sampler(options, Input(fps=10))
    assert isinstance(sampler, AtRate)
    spans = []
    for fps in (20.0, 60.0):
        (view,) = sampler.plan(video(600, fps), Draw(0, 0, 0)).views
        spans.append((view.frames[-1] - view.frames[0]) / fps)
    assert spans == pytest.approx([14 / 10, 14 / 10], abs=0.06)


def test_a_video_is_judged_at_the_frame_rate():
    sampler = build_sampler(TemporalTransforms(name="temporal_transforms"), Input(fps=5))
    assert sampler.rejects(video(200, 5.0)) is None
    assert sampler.rejects(video(100, 50.0)) == "at 5 frames a second: 10 frames; needs at least 16"


def test_without_a_rate_the_sampler_stands_alone():
    options = Pace(name="pace")
    assert type(build_sampler(options, Input())) is type(options.build())


def test_couples_stay_couples():
    sampler = build_sampler(TimeEquivariant(name="time_equivariant"), Input(fps=25))
    assert sampler.together == 2
    plans = sampler.plan_batch([video(300)] * 2, [Draw(0, 0, index) for index in range(2)])
    assert plans[0].labels["relation"] == plans[1].labels["relation"]
