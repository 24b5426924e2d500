"""Rotation, arrow of time, shuffle and learn, speediness: what their clips and labels are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Draw
from vidssl_cli.contract.videos import Video
from vidssl_plugins.samplers.hooks import ArrowOfTime, Rotation, ShuffleAndLearn, Speediness
from vidssl_plugins.samplers.shuffle_and_learn import shuffled
from vidssl_plugins.samplers.speediness import skipping

ONE_CLIP = [
    (Rotation, "rotation", "rotation", 4),
    (ArrowOfTime, "arrow_of_time", "direction", 2),
    (ShuffleAndLearn, "shuffle_and_learn", "shuffled", 2),
]


def plan(options, frames=100, epoch=0, seed=0):
    return options.build().plan(Video(path="v.mp4", frames=frames), Draw(seed, epoch, 0))


@pytest.mark.parametrize(("kind", "name", "label", "variants"), ONE_CLIP)
def test_every_variant_or_one_at_random(kind, name, label, variants):
    assert kind(name=name).labels() == {label: variants}
    made = plan(kind(name=name))
    assert made.labels[label].tolist() == list(range(variants))
    keys = {(view.crop, view.flip, view.colour) for view in made.views}
    assert keys == {("video", "video", "video")}  # variants differ in nothing else
    one = [plan(kind(name=name, variants="random"), epoch=epoch) for epoch in range(80)]
    assert {len(made.views) for made in one} == {1}
    assert {int(made.labels[label][0]) for made in one} == set(range(variants))


@pytest.mark.parametrize(("kind", "name", "label", "variants"), ONE_CLIP)
@given(
    count=st.integers(16, 300),
    stride=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    policy=st.sampled_from(["restrict", "loop", "clamp"]),
)
def test_clips_stay_inside(kind, name, label, variants, count, stride, seed, policy):
    made = plan(kind(name=name, stride=stride, short_video=policy), count, seed=seed)
    for view in made.views:
        assert view.frames.shape == (16,)
        assert 0 <= view.frames.min() <= view.frames.max() < count
        if count > 15 * stride:
            assert np.ptp(view.frames) == 15 * stride
        # All variants show the same frames.
        assert sorted(view.frames.tolist()) == sorted(made.views[0].frames.tolist())


def test_rotation_turns_one_clip():
    views = plan(Rotation(name="rotation")).views
    assert [view.turns for view in views] == [0, 1, 2, 3]
    assert len({tuple(view.frames.tolist()) for view in views}) == 1


def test_the_arrow_of_time_reverses_one_clip():
    forward, backward = plan(ArrowOfTime(name="arrow_of_time", stride=2)).views
    assert (np.diff(forward.frames) == 2).all()
    assert backward.frames.tolist() == forward.frames.tolist()[::-1]


@given(st.integers(1, 6), st.integers(0, 2**32))
def test_shuffled_clips_keep_their_ends_and_never_their_middle(kept, seed):
    frames = np.arange(100, 116)
    mixed = shuffled(frames, kept, np.random.default_rng(seed))
    assert mixed[:kept].tolist() == frames[:kept].tolist()
    assert mixed[-kept:].tolist() == frames[-kept:].tolist()
    assert sorted(mixed.tolist()) == frames.tolist()
    assert mixed.tolist() != frames.tolist()


def test_two_frames_in_the_middle_are_always_swapped():
    mixed = {tuple(shuffled(np.arange(4), 1, np.random.default_rng(s))) for s in range(20)}
    assert mixed == {(0, 2, 1, 3)}


@given(
    rate=st.floats(1, 2.2),
    frames=st.integers(2, 32),
    seed=st.integers(0, 2**32),
)
def test_skipping_keeps_the_order_and_the_number_of_frames(rate, frames, seed):
    clip = skipping(3 * frames, rate, frames, np.random.default_rng(seed))
    assert clip.shape == (frames,)
    assert (np.diff(clip) > 0).all()
    assert 0 <= clip[0] <= clip[-1] < 3 * frames


@pytest.mark.parametrize("rate", [1, 1.2, 1.7, 2.2])
def test_the_mean_rate_is_the_rate(rate):
    clips = [skipping(192, rate, 64, np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([np.diff(clip).mean() for clip in clips]) == pytest.approx(rate, rel=0.02)


def test_both_speeds_come_from_one_window():
    options = Speediness(name="speediness")
    for epoch in range(50):
        made = plan(options, 500, epoch)
        assert made.labels["fast"].tolist() == [0, 1]
        together = np.concatenate([view.frames for view in made.views])
        assert np.ptp(together) < 48
    assert [(view.crop, view.flip) for view in made.views] == [("video", "video")] * 2
    own = plan(Speediness(name="speediness", geometry="own")).views
    assert [(view.crop, view.flip) for view in own] == [(None, None)] * 2


def test_fast_clips_are_faster():
    spans = [
        [np.ptp(v.frames) for v in plan(Speediness(name="speediness"), 500, e).views]
        for e in range(100)
    ]
    normal, fast = np.mean(spans, axis=0)
    assert normal / 15 == pytest.approx(1.1, abs=0.05)
    assert fast / 15 == pytest.approx(1.95, abs=0.12)


def test_short_windows_make_do_with_the_video():
    options = Speediness(name="speediness")
    assert options.build().rejects(Video(path="v", frames=36)) is None
    assert options.build().rejects(Video(path="v", frames=35)) == "35 frames; needs at least 36"
    assert all(view.frames.max() < 36 for view in plan(options, 36).views)
    strict = Speediness(name="speediness", short_video="skip").build()
    assert strict.rejects(Video(path="v", frames=47)) == "47 frames; needs at least 48"


@pytest.mark.parametrize("policy", ["restrict", "skip"])
def test_a_stride_that_does_not_fit(policy):
    options = ArrowOfTime(name="arrow_of_time", stride=3, variants="random", short_video=policy)
    reason = options.build().rejects(Video(path="v", frames=40))
    if policy == "skip":
        assert reason == "40 frames; needs at least 46"
    else:
        assert reason is None
        assert set(np.abs(np.diff(plan(options, 40).views[0].frames))) == {2}


def test_a_short_video_can_stop_the_run():
    strict = Rotation(name="rotation", short_video="error").build()
    with pytest.raises(UsageError, match="15 frames; needs at least 16") as caught:
        strict.rejects(Video(path="short.mp4", frames=15))
    assert caught.value.where == "short.mp4"
    assert "short_video" in caught.value.hint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (lambda: ShuffleAndLearn(name="shuffle_and_learn", kept=8), "leaves none to shuffle"),
        (lambda: Speediness(name="speediness", normal=[1.2, 1]), "the smallest comes first"),
        (lambda: Speediness(name="speediness", fast=[2, 4]), "a rate of 4 needs a window"),
        (lambda: Speediness(name="speediness", fast=[0.5, 2]), "greater than or equal to 1"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        options()
