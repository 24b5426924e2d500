"""Playback speeds and clip order: signed clips, ranks of orders, telling orders from pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.contract.clips import Batch, Draw
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_plugins.pretexts.hooks import Order
from vidssl_plugins.pretexts.order import all_orders
from vidssl_plugins.samplers.hooks import ClipOrder, PlaybackSpeed
from vidssl_plugins.samplers.playback_speed import signed_frames


def sampler(**options):
    return PlaybackSpeed(name="playback_speed", **options).build()


def video(frames):
    return Video(path="v.mp4", frames=frames)


@pytest.mark.parametrize(
    ("clips", "speeds"),
    [
        (2, (-3, 3)),
        (3, (-3, 1, 3)),
        (4, (-3, -1, 1, 3)),
        (5, (-5, -3, 1, 3, 5)),
        (6, (-5, -3, -1, 1, 3, 5)),
        (7, (-7, -5, -3, 1, 3, 5, 7)),
    ],
)
def test_speeds_of_n_clips(clips, speeds):
    options = PlaybackSpeed(name="playback_speed", speeds=clips)
    assert options.signed == speeds
    assert options.labels() == {"permutation": math.factorial(clips)}
    assert options.build().views == clips


def test_speeds_can_be_listed():
    assert PlaybackSpeed(name="playback_speed", speeds=[3, -4, 1]).signed == (-4, 1, 3)


def test_negative_speeds_descend():
    assert signed_frames(10, 3, 16).tolist() == list(range(10, 56, 3))
    assert signed_frames(55, -3, 16).tolist() == list(range(55, 9, -3))


def test_starts_reach_every_frame_that_leaves_room():
    first = [set() for _ in range(5)]
    for epoch in range(1500):
        for seen, view in zip(
            first, sampler().plan(video(100), Draw(0, epoch, 0)).views, strict=True
        ):
            seen.add(int(view.frames[0]))
    assert first == [
        set(range(75, 100)),  # -5
        set(range(45, 100)),  # -3
        set(range(85)),  # 1
        set(range(55)),  # 3
        set(range(25)),  # 5
    ]


@given(
    count=st.integers(106, 400),
    clips=st.integers(2, 7),
    seed=st.integers(0, 2**32),
)
def test_invariants(count, clips, seed):
    built = sampler(speeds=clips)
    plan = built.plan(video(count), Draw(seed, 0, 0))
    assert len(plan.views) == clips
    for view, speed in zip(plan.views, built.speeds, strict=True):
        assert (np.diff(view.frames) == speed).all()
        assert 0 <= view.frames.min() <= view.frames.max() < count
    assert 0 <= plan.labels["permutation"] < math.factorial(clips)
    again = built.plan(video(count), Draw(seed, 0, 0))
    assert [v.frames.tolist() for v in plan.views] == [v.frames.tolist() for v in again.views]


@pytest.mark.parametrize(("clips", "needed"), [(2, 46), (4, 46), (5, 76), (6, 76)])
def test_short_videos_can_be_left_out(clips, needed):
    built = sampler(speeds=clips, short_video="skip")
    assert built.rejects(video(needed)) is None
    assert built.rejects(video(needed - 1)) == f"{needed - 1} frames; needs at least {needed}"


def test_short_videos_loop_clamp_or_are_an_error():
    assert sampler().rejects(video(1)) is None
    (fast,) = sampler().plan(video(40), Draw(0, 0, 0)).views[-1:]
    assert fast.frames.tolist() == [(fast.frames[0] + 5 * k) % 40 for k in range(16)]
    (fast,) = sampler(short_video="clamp").plan(video(40), Draw(0, 0, 0)).views[-1:]
    assert fast.frames.tolist() == [min(5 * k, 39) for k in range(16)]
    with pytest.raises(UsageError, match="75 frames; needs at least 76"):
        sampler(short_video="error").rejects(video(75))


@pytest.mark.parametrize(
    ("speeds", "complaint"),
    [
        ([1, 0], "single frame"),
        ([1, 1], "not all different"),
        ([1], "at least 2 items"),
        (8, "less than or equal to 7"),
    ],
)
def test_refuses(speeds, complaint):
    with pytest.raises(ValidationError, match=complaint):
        PlaybackSpeed(name="playback_speed", speeds=speeds)


def test_orders_are_ranked_lexicographically():
    assert all_orders(3).tolist() == [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ]
    canonical = [-3, 1, 3]
    shown = [canonical.index(speed) for speed in (3, -3, 1)]
    assert all_orders(3).tolist().index(shown) == 4
    assert all_orders(5).tolist().index([4, 2, 0, 1, 3]) == 108
    assert [len(all_orders(n)) for n in range(2, 7)] == [2, 6, 24, 120, 720]


def lehmer(order):
    """Sum over positions of the rank among what remains times the orders of the rest."""
    rest, rank = sorted(order), 0
    for position, element in enumerate(order):
        rank += rest.index(element) * math.factorial(len(order) - 1 - position)
        rest.remove(element)
    return rank


@given(st.permutations(range(5)))
def test_the_rank_is_the_lehmer_code(order):
    assert all_orders(5).tolist().index(list(order)) == lehmer(order)


def pretext(views, **options):
    labels = {"permutation": math.factorial(views)}
    context = PretextContext(6, {"feat": 6}, labels, views, 4)
    torch.manual_seed(0)
    return Order(name="order", **{"hidden": 8, "dropout": 0, **options}).build(context)


def features(videos, views):
    return torch.randn(videos, views, 6, generator=torch.Generator().manual_seed(1))


def batch(permutation):
    labels = {"permutation": torch.tensor(permutation)}
    return Batch(torch.empty(0), labels, torch.arange(len(permutation)), torch.empty(0))


@pytest.mark.parametrize(
    ("views", "loss"), [(2, 0.693147), (3, 1.791759), (4, 3.178054), (5, 4.787492), (6, 6.579251)]
)
@pytest.mark.parametrize("orders", ["all", "random"])
def test_uniform_predictions_cost_the_logarithm_of_the_orders(views, loss, orders):
    task = pretext(views, orders=orders)
    torch.nn.init.zeros_(task.head.weight)
    torch.nn.init.zeros_(task.head.bias)
    terms, _ = task({"feat": features(2, views)}, batch([0, 1]))
    assert terms["loss"].item() == pytest.approx(loss, abs=1e-5)


@pytest.mark.parametrize(("views", "pairs"), [(3, 3), (5, 10)])
def test_the_head_sees_every_pair(views, pairs):
    task = Order(name="order").build(PretextContext(512, {"feat": 512}, {}, views, 1))
    assert task.pair[0].weight.shape == (512, 1024)
    assert task.head.weight.shape == (math.factorial(views), 512 * pairs)


def one_order(task, vectors, order):
    """Shuffle the vectors themselves, and pair them one by one."""
    shown = vectors[list(order)]
    pairs = [
        task.pair(torch.cat([shown[j], shown[k]]))
        for j in range(len(order))
        for k in range(j + 1, len(order))
    ]
    return task.head(torch.cat(pairs))


def test_orders_of_features_are_orders_of_clips():
    task, vectors = pretext(4), features(3, 4)
    losses = [
        torch.nn.functional.cross_entropy(one_order(task, rows, order)[None], torch.tensor([rank]))
        for rows in vectors
        for rank, order in enumerate(all_orders(4).tolist())
    ]
    terms, _ = task({"feat": vectors}, batch([0, 0, 0]))
    torch.testing.assert_close(terms["loss"], torch.stack(losses).mean())


def test_the_drawn_order_is_the_one_that_is_told():
    task, vectors, ranks = pretext(3, orders="random"), features(2, 3), [4, 1]
    logits = [
        one_order(task, rows, all_orders(3)[rank].tolist())
        for rows, rank in zip(vectors, ranks, strict=True)
    ]
    expected = torch.nn.functional.cross_entropy(torch.stack(logits), torch.tensor(ranks))
    terms, _ = task({"feat": vectors}, batch(ranks))
    torch.testing.assert_close(terms["loss"], expected)


def test_what_the_pretext_asks_for():
    assert Order(name="order").required() == frozenset()
    assert Order(name="order", orders="random").required() == {"permutation"}
    with pytest.raises(UsageError, match="orders of 8 views"):
        Order(name="order").build(PretextContext(6, {"feat": 6}, {}, 8, 4))


# Clip order prediction: the same head on clips in the order of time.


def test_clips_follow_one_another_with_a_gap():
    built = ClipOrder(name="clip_order").build()
    assert built.rejects(video(64)) is None
    assert built.rejects(video(63)) == "63 frames; needs at least 64"
    starts, ranks = set(), set()
    for epoch in range(200):
        plan = built.plan(video(70), Draw(0, epoch, 0))
        start = int(plan.views[0].frames[0])
        for number, view in enumerate(plan.views):
            first = start + 24 * number
            assert view.frames.tolist() == list(range(first, first + 16))
        starts.add(start)
        ranks.add(int(plan.labels["permutation"]))
    assert starts == set(range(7))
    assert ranks == set(range(6))


@given(
    clips=st.integers(2, 5),
    frames=st.integers(2, 16),
    stride=st.integers(1, 3),
    gap=st.integers(0, 10),
    more=st.integers(0, 50),
)
def test_clips_never_overlap(clips, frames, stride, gap, more):
    options = ClipOrder(name="clip_order", clips=clips, frames=frames, stride=stride, gap=gap)
    needed = clips * ((frames - 1) * stride + 1) + (clips - 1) * gap
    assert options.build().rejects(video(needed - 1)) is not None
    plan = options.build().plan(video(needed + more), Draw(0, 0, 0))
    for one, other in zip(plan.views[:-1], plan.views[1:], strict=True):
        assert other.frames[0] - one.frames[-1] == gap + 1
    assert plan.views[-1].frames[-1] < needed + more
