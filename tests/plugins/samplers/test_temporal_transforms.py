"""Temporal transformations: the sampler's printed values and invariants, the two-part loss."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import ABSENT, Batch, Draw
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_plugins.pretexts.hooks import TemporalTransforms as Pretext
from vidssl_plugins.samplers.hooks import TemporalTransforms as Sampler
from vidssl_plugins.samplers.temporal_transforms import periodic, warped


def sampler(**options):
    return Sampler(name="temporal_transforms", **options).build()


def video(frames):
    return Video(path="v.mp4", frames=frames)


def plans(built, frames, epochs):
    return [built.plan(video(frames), Draw(0, epoch, 0)) for epoch in range(epochs)]


def speeds_seen(built, frames, epochs=150):
    return {int(plan.labels["speed"][0]) for plan in plans(built, frames, epochs)}


@pytest.mark.parametrize(
    ("frames", "fastest"),
    [(16, 0), (30, 0), (31, 1), (60, 1), (61, 2), (120, 2), (121, 3), (500, 3)],
)
def test_exact_speed_limit(frames, fastest):
    assert speeds_seen(sampler(), frames) == set(range(fastest + 1))


@pytest.mark.parametrize(
    ("frames", "fastest"),
    [(16, 0), (31, 0), (32, 1), (61, 1), (64, 2), (121, 2), (127, 2), (128, 3)],
)
def test_released_speed_limit(frames, fastest):
    assert speeds_seen(sampler(speed_limit="released"), frames) == set(range(fastest + 1))


def test_too_short_a_video_is_rejected_with_the_reason():
    assert sampler().rejects(video(16)) is None
    assert sampler().rejects(video(12)) == "12 frames; needs at least 16"
    assert sampler(speeds=[1, 2]).rejects(video(30)) == "30 frames; needs at least 31"


def test_speed_plays_every_so_many_frames():
    starts = set()
    for plan in plans(sampler(), 130, 400):
        frames, speed = plan.views[0].frames, int(plan.labels["speed"][0])
        assert (frames - frames[0]).tolist() == [j * 2**speed for j in range(16)]
        if speed == 3:
            starts.add(int(frames[0]))
    assert starts == set(range(10))


@pytest.mark.parametrize(
    ("speed", "turn_at", "turn", "expected"),
    [
        (0, 5, "printed", [5, 6, 7, 8, 9, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (0, 12, "printed", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 11, 10, 9]),
        (1, 13, "printed", [5, 7, 9, 11, 13, 15, 17, 16, 14, 12, 10, 8, 6, 4, 2, 0]),
        (1, 13, "composed", [4, 6, 8, 10, 12, 14, 16, 16, 14, 12, 10, 8, 6, 4, 2, 0]),
        (2, 30, "printed", [2, 6, 10, 14, 18, 22, 26, 30, 28, 24, 20, 16, 12, 8, 4, 0]),
        (2, 30, "composed", [0, 4, 8, 12, 16, 20, 24, 28, 28, 24, 20, 16, 12, 8, 4, 0]),
        (3, 50, "printed", [22, 30, 38, 46, 54, 62, 70, 64, 56, 48, 40, 32, 24, 16, 8, 0]),
    ],
)
def test_periodic_clips(speed, turn_at, turn, expected):
    assert periodic(turn_at, 2**speed, 16, turn).tolist() == expected


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (1, [1, 5, 9, 13, 17, 21, 25, 29, 28, 24, 20, 16, 12, 8, 4, 0]),
        (3, [3, 7, 11, 15, 19, 23, 27, 31, 28, 24, 20, 16, 12, 8, 4, 0]),
    ],
)
def test_the_released_way_back(offset, expected):
    assert periodic(30, 4, 16, "released", offset).tolist() == expected


@pytest.mark.parametrize(("speed", "offsets"), [(0, {0, 1}), (1, {1}), (2, {1, 2, 3})])
def test_released_offsets(speed, offsets):
    built = sampler(types=["speed", "periodic"], speeds=[speed], turn="released")
    seen = set()
    for plan in plans(built, 200, 100):
        clip = plan.views[1].frames
        top = int(np.flatnonzero(np.diff(clip) <= 0)[0])
        seen.add(int(clip[top] - clip[top + 1]))
        assert np.ptp(clip) <= 13 * 2**speed
    assert seen == offsets


@pytest.mark.parametrize("speed", range(4))
def test_every_turning_point(speed):
    step, differ, repeats = 2**speed, 0, 0
    for turn_at in range(2 * step + 1, 13 * step):
        printed = periodic(turn_at, step, 16, "printed")
        composed = periodic(turn_at, step, 16, "composed")
        whole, rest = divmod(turn_at, step)
        assert printed[0] == max(0, (15 - 2 * whole) * step - rest)  # the printed rho
        assert composed[0] == max(0, 15 * step - 2 * turn_at)
        assert 0 == printed.min() == composed.min()
        assert max(printed.max(), composed.max()) <= 13 * step
        assert (np.diff(printed) != 0).all()
        differ += printed.tolist() != composed.tolist()
        repeats += bool((np.diff(composed) == 0).any())
    assert (differ, repeats) == [(0, 0), (11, 11), (33, 11), (77, 11)][speed]


def test_turning_points_lie_strictly_between_the_bounds():
    built = sampler(types=["speed", "periodic"], speeds=[1])
    tops = {int(np.argmax(plan.views[1].frames)) for plan in plans(built, 500, 600)}
    assert tops == set(range(2, 13))  # 4 < s < 26


@pytest.mark.parametrize(
    ("skips", "expected"),
    [
        (
            [0, 7, 3, 0, 1, 2, 5, 0, 4, 6, 1, 0, 2, 3, 7],
            [2, 3, 11, 15, 16, 18, 21, 27, 28, 33, 40, 42, 43, 46, 50, 58],
        ),
        ([0] * 15, list(range(2, 18))),
        ([7] * 15, list(range(2, 123, 8))),
    ],
)
def test_warped_clips_step_one_more_than_they_skip(skips, expected):
    assert (2 + warped(np.array(skips) + 1)).tolist() == expected


@pytest.mark.parametrize(
    ("options", "frames", "largest"),
    [
        ({}, 121, 8),
        ({}, 120, 4),
        ({}, 61, 4),
        ({"speed_limit": "released"}, 127, 4),
        ({"speeds": [0, 1, 2], "warp_steps": [1, 4]}, 96, 4),
    ],
)
def test_warp_steps_are_limited_by_the_length(options, frames, largest):
    steps = np.concatenate(
        [np.diff(p.views[3].frames) for p in plans(sampler(**options), frames, 80)]
    )
    assert set(steps.tolist()) == set(range(1, largest + 1))


def test_a_short_warp_takes_any_frames_in_order():
    frames = np.stack([plan.views[3].frames for plan in plans(sampler(), 40, 300)])
    assert (np.diff(frames, axis=1) > 0).all()
    assert set(frames.flatten().tolist()) == set(range(40))
    assert np.diff(frames, axis=1).max() > 8  # not bounded by a step


def test_random_shuffles_consecutive_frames():
    for plan in plans(sampler(), 40, 50):
        frames = plan.views[1].frames
        assert sorted((frames - frames.min()).tolist()) == list(range(16))
        assert (np.diff(frames) != 1).any()


def test_the_clips_of_a_video_are_mirrored_together_and_cropped_alone():
    (plan,) = plans(sampler(), 130, 1)
    assert {view.flip for view in plan.views} == {"video"}
    assert {view.crop for view in plan.views} == {None}


def test_labels_apply_to_what_has_a_speed():
    (plan,) = plans(sampler(speeds=[3, 0]), 130, 1)
    assert plan.labels["transform"].tolist() == [0, 1, 2, 3]
    speed = plan.labels["speed"]
    assert speed[[1, 3]].tolist() == [ABSENT, ABSENT]
    assert speed[0] == speed[2] in (0, 1)
    step = plan.views[0].frames[1] - plan.views[0].frames[0]
    assert step == [1, 8][speed[0]]


def test_types_can_be_dropped():
    options = Sampler(name="temporal_transforms", types=["warp", "speed"])
    assert options.types == ("speed", "warp")
    assert options.labels() == {"transform": 2, "speed": 4}
    plan = options.build().plan(video(130), Draw(0, 0, 0))
    assert len(plan.views) == 2
    assert plan.labels["transform"].tolist() == [0, 1]


def test_one_speed_for_the_batch():
    built = sampler(speed_scope="batch")
    videos = [video(n) for n in (500, 61, 300)]
    seen = set()
    for epoch in range(60):
        draws = [Draw(0, epoch, index) for index in (7, 3, 5)]
        speeds = {int(p.labels["speed"][0]) for p in built.plan_batch(videos, draws)}
        turned = {int(p.labels["speed"][0]) for p in built.plan_batch(videos[::-1], draws[::-1])}
        assert len(speeds) == 1
        assert speeds == turned
        seen |= speeds
    assert seen == {0, 1, 2}  # the shortest video limits it


@pytest.mark.parametrize("policy", ["loop", "clamp"])
def test_short_videos_can_be_filled_up(policy):
    built = sampler(short_video=policy)
    assert built.rejects(video(3)) is None
    assert speeds_seen(built, 10) == {0, 1, 2, 3}
    for plan in plans(built, 10, 20):
        step, speed = 2 ** int(plan.labels["speed"][0]), plan.views[0].frames
        walk = speed[0] + step * np.arange(16)
        expected = walk % 10 if policy == "loop" else np.minimum(walk, 9)
        assert speed.tolist() == expected.tolist()
        assert max(view.frames.max() for view in plan.views) < 10


def test_short_videos_can_be_left_out():
    built = sampler(short_video="skip")
    assert built.rejects(video(121)) is None
    assert built.rejects(video(120)) == "120 frames; needs at least 121"


@given(
    count=st.integers(16, 600),
    seed=st.integers(0, 2**32),
    turn=st.sampled_from(["printed", "composed", "released"]),
    limit=st.sampled_from(["exact", "released"]),
)
def test_invariants(count, seed, turn, limit):
    built = sampler(turn=turn, speed_limit=limit)
    plan = built.plan(video(count), Draw(seed, 0, 0))
    step = 2 ** int(plan.labels["speed"][0])
    for view in plan.views:
        assert view.frames.shape == (16,)
        assert 0 <= view.frames.min() <= view.frames.max() < count
    rising = plan.views[2].frames
    top = int(rising.argmax())
    assert 0 < top < 15
    assert (np.diff(rising[: top + 1]) > 0).all()
    assert (np.diff(rising[top:]) <= 0).all()
    assert rising.max() - rising.min() <= 13 * step
    assert (np.diff(plan.views[3].frames) > 0).all()
    again = built.plan(video(count), Draw(seed, 0, 0))
    for a, b in zip(plan.views, again.views, strict=True):
        assert a.frames.tolist() == b.frames.tolist()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"types": ["random", "warp"]}, "must contain speed"),
        ({"types": ["speed", "speed"]}, "not all different"),
        ({"speeds": [1, 1]}, "not all different"),
        ({"speeds": []}, "at least 1 item"),
        ({"warp_steps": [4, 2]}, "not 4 before 2"),
        ({"frames": 7}, "greater than or equal to 8"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Sampler(name="temporal_transforms", **options)


# The loss, on the clips speed, random, periodic, warp of one video at speed class 2.
LOGITS = [
    [2, 0, 0, 0, 0, 0, 3, 0],
    [0, 1, 0, 0, 1, 0, 0, 0],
    [0, 0, 3, 0, 0, 0, 0, 1],
    [1, 0, 0, 1, 0, 0, 2, 0],
]


def loss(logits, types=4, **options):
    """Pass logits through: one feature per logit, and a head that copies them."""
    size = len(logits[0])
    context = PretextContext(size, {"feat": size}, {"transform": types, "speed": 4}, types, 1)
    pretext = Pretext(name="temporal_transforms", **options).build(context)
    with torch.no_grad():
        pretext.head[-1].weight.copy_(torch.eye(size))
        pretext.head[-1].bias.zero_()
    labels = {
        "transform": torch.arange(types)[None],
        "speed": torch.tensor([[2, ABSENT, 2, ABSENT][:types]]),
    }
    batch = Batch(torch.empty(1, types, 3, 1, 1, 1), labels, torch.zeros(1), torch.empty(0))
    return pretext({"feat": torch.tensor([logits], dtype=torch.float32)}, batch)


@pytest.mark.parametrize(
    ("options", "motion", "speed"),
    [
        ({}, 2.230037, 0.139206),
        ({"weighting": "released"}, 0.557509, 0.139206),
        ({"weighting": "released", "speed_on": ["speed", "periodic"]}, 0.557509, 0.941437),
        ({"speed_on": ["periodic"]}, 2.230037, 2 * 0.941437 - 0.139206),
    ],
)
def test_the_two_part_loss(options, motion, speed):
    terms, metrics = loss(LOGITS, **options)
    assert terms["motion"].item() == pytest.approx(motion, abs=1e-5)
    assert terms["speed"].item() == pytest.approx(speed, abs=1e-5)
    assert metrics["motion_accuracy"].item() == 0.75  # the warp's first and last logit tie


@pytest.mark.parametrize(("weighting", "factor"), [("literal", 5), ("released", 2)])
def test_uniform_logits_cost_log_4_per_part(weighting, factor):
    terms, _ = loss([[0.0] * 8] * 4, weighting=weighting)
    assert sum(terms.values()).item() == pytest.approx(factor * np.log(4), abs=1e-6)


def test_the_head_may_have_hidden_layers():
    context = PretextContext(6, {"feat": 6}, {"transform": 4, "speed": 4}, 4, 1)
    head = Pretext(name="temporal_transforms", hidden=[5, 3]).build(context).head
    assert [tuple(p.shape) for p in head.parameters() if p.ndim == 2] == [(5, 6), (3, 5), (8, 3)]


def test_parts_can_be_left_out():
    assert loss(LOGITS, speed_on=[])[0].keys() == {"motion"}
    alone, metrics = loss([[0, 0, 0, 0, 1]], types=1)
    assert alone.keys() == {"speed"}
    assert metrics.keys() == {"speed_accuracy"}
    with pytest.raises(UsageError, match="nothing to classify"):
        loss([[0, 0, 0, 0, 1]], types=1, speed_on=[])
