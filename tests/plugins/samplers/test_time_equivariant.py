"""Time equivariance: relations of two clips, couples that share them, and their contrast."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vidssl_cli.base.errors import UsageError
from vidssl_cli.config.recipe import PretrainRecipe
from vidssl_cli.config.sections import Augment, Input
from vidssl_cli.contract.clips import Batch, Draw
from vidssl_cli.contract.hooks import PretextContext
from vidssl_cli.contract.videos import Video
from vidssl_cli.data.loader import Loader
from vidssl_cli.data.order import Order
from vidssl_cli.data.samples import Pipeline
from vidssl_plugins.pretexts.hooks import Equivariance, SameContext
from vidssl_plugins.pretexts.shared.contrast import contrast, similarity
from vidssl_plugins.samplers.hooks import TimeEquivariant
from vidssl_plugins.samplers.time_equivariant import AFTER, BEFORE, OVERLAP, Relation, order


def sampler(**options):
    return TimeEquivariant(name="time_equivariant", **options).build()


def plan(built, lengths, epoch=0, seed=0):
    videos = [Video(path=f"{n}.mp4", frames=n) for n in lengths]
    return built.plan_batch(videos, [Draw(seed, epoch, i) for i in range(len(videos))])


def relation(made, speeds=(0, 1, 2, 3)):
    """Read (speed, direction, speed, direction, shift) off the frames alone."""
    parts, starts = [], []
    for view in made.views:
        step = int(view.frames[1] - view.frames[0])
        parts += [[2**k for k in speeds].index(abs(step)), step < 0]
        starts.append(int(view.frames.min()))
    return (*parts, starts[1] - starts[0])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, 1), (16, 1), BEFORE),
        ((0, 1), (15, 1), OVERLAP),
        ((31, 1), (0, 2), AFTER),
        ((30, 1), (0, 2), OVERLAP),
        ((0, 2), (1, 2), OVERLAP),
        ((10, 4), (71, 1), BEFORE),
        ((10, 4), (70, 1), OVERLAP),
    ],
)
def test_order_of_closed_intervals(first, second, expected):
    assert order(second[0] - first[0], 15 * first[1], 15 * second[1]) == expected


@given(st.integers(-300, 300), st.integers(1, 200), st.integers(1, 200))
def test_swapping_the_clips_turns_before_into_after(shift, first, second):
    swapped = {BEFORE: AFTER, AFTER: BEFORE, OVERLAP: OVERLAP}
    assert order(-shift, second, first) == swapped[order(shift, first, second)]


def test_a_clip_backwards_shows_the_same_frames():
    forward, backward = (sampler(speeds=[1], backward=chance) for chance in (0, 1))
    for epoch in range(20):
        (ahead,), (back,) = plan(forward, [40], epoch), plan(backward, [40], epoch)
        assert ahead.views[0].frames.tolist() == back.views[0].frames.tolist()[::-1]
        start = int(ahead.views[0].frames[0])
        assert ahead.views[0].frames.tolist() == list(range(start, start + 31, 2))
        assert ahead.labels["direction"].tolist() == [0, 0]
        assert back.labels["direction"].tolist() == [1, 1]


@given(
    lengths=st.lists(st.integers(16, 400), min_size=1, max_size=7),
    seed=st.integers(0, 2**32),
    how=st.sampled_from(["natural", "balanced"]),
    equivariance=st.sampled_from(["temporal", "both"]),
    coupling=st.integers(2, 3),
)
def test_couples_share_speeds_directions_and_shift(lengths, seed, how, equivariance, coupling):
    built = sampler(relation=how, equivariance=equivariance, coupling=coupling)
    plans = plan(built, lengths, seed=seed)
    for first in range(0, len(plans), coupling):
        couple = plans[first : first + coupling]
        assert len({relation(p) for p in couple}) == 1
        assert {int(p.labels["couple"]) for p in couple} == {first // coupling}
        assert len({int(p.labels["relation"]) for p in couple}) == 1
    for made, count in zip(plans, lengths, strict=True):
        (p, back_p, q, back_q, shift) = relation(made)
        assert made.labels["speed"].tolist() == [p, q]
        assert made.labels["direction"].tolist() == [back_p, back_q]
        assert made.labels["order"] == order(shift, 15 * 2**p, 15 * 2**q)
        for view in made.views:
            assert view.frames.shape == (16,)
            assert 0 <= view.frames.min() <= view.frames.max() < count
    again = plan(built, lengths, seed=seed)
    assert all(
        np.array_equal(a.frames, b.frames)
        for one, other in zip(plans, again, strict=True)
        for a, b in zip(one.views, other.views, strict=True)
    )


@given(
    count=st.integers(1, 8), seed=st.integers(0, 2**32), how=st.sampled_from(["temporal", "both"])
)
def test_every_anchor_has_one_positive(count, seed, how):
    plans = plan(sampler(equivariance=how), [100] * 2 * count, seed=seed)
    couple, relation = (
        np.array([p.labels[name] for p in plans]) for name in ("couple", "relation")
    )
    together = couple[:, None] == couple
    assert (together.sum(1) == 2).all()  # itself and its partner
    assert ((relation[:, None] == relation) | ~together).all()


def test_swapping_the_videos_of_a_couple_changes_nothing():
    built = sampler()
    videos = [Video(path=f"{n}.mp4", frames=n) for n in (100, 200)]
    draws = [Draw(0, 0, 5), Draw(0, 0, 3)]
    one = built.plan_batch(videos, draws)
    other = built.plan_batch(videos[::-1], draws[::-1])[::-1]
    for a, b in zip(one, other, strict=True):
        assert [v.frames.tolist() for v in a.views] == [v.frames.tolist() for v in b.views]


def test_relation_numbers_agree_exactly_where_relations_do():
    found = {}
    for epoch in range(300):
        (made, *_) = plan(sampler(), [130, 130], epoch)
        found.setdefault(int(made.labels["relation"]), set()).add(relation(made))
    assert all(len(same) == 1 for same in found.values())
    assert len(found) == len({one for same in found.values() for one in same})
    assert (
        Relation((0, 1), (False, True), -3).number() != Relation((0, 1), (False, True), 3).number()
    )


def test_starts_may_differ_within_a_couple():
    pairs = [plan(sampler(), [200, 200], epoch) for epoch in range(20)]
    assert any(a.views[0].frames.min() != b.views[0].frames.min() for a, b in pairs)


@pytest.mark.parametrize(("count", "overlap"), [(60, 0.57), (120, 0.27), (300, 0.11)])
def test_natural_frequencies_of_overlap(count, overlap):
    built = sampler(speeds=[0])
    found = [int(plan(built, [count], epoch)[0].labels["order"]) for epoch in range(600)]
    assert found.count(OVERLAP) / 600 == pytest.approx(overlap, abs=0.07)


def test_balanced_relations_are_equally_frequent():
    built = sampler(speeds=[0], relation="balanced")
    found = Counter(int(plan(built, [300], epoch)[0].labels["order"]) for epoch in range(600))
    assert min(found.values()) > 150
    # A video of 31 frames has no room for two clips of 16 side by side.
    only = {int(plan(built, [31], epoch)[0].labels["order"]) for epoch in range(50)}
    assert only == {OVERLAP}


def test_without_shifts_both_clips_begin_at_one_frame():
    built, found = sampler(relation="aligned"), set()
    for epoch in range(60):
        one, other = plan(built, [300, 140], epoch)
        assert relation(one) == relation(other)
        *motion, shift = relation(one)
        assert shift == 0
        assert one.labels["order"] == OVERLAP
        found.add(tuple(motion))
    assert len(found) > 30  # of 64 pairs of speeds and directions


def test_clips_can_be_planned_twice():
    once, twice = sampler(), sampler(copies=2)
    assert (once.views, twice.views) == (2, 4)
    numbers = {}
    for epoch in range(40):
        for single, double in zip(
            plan(once, [200, 100], epoch), plan(twice, [200, 100], epoch), strict=True
        ):
            shown = [view.frames.tolist() for view in double.views]
            assert shown == 2 * [view.frames.tolist() for view in single.views]
            assert {view.crop for view in double.views} == {None}
            for name in ("speed", "direction"):
                assert double.labels[name].tolist() == 2 * single.labels[name].tolist()
            assert double.labels["order"] == single.labels["order"]
            assert "clip" not in single.labels
            for frames, number in zip(shown, double.labels["clip"].tolist(), strict=True):
                numbers.setdefault(number, set()).add(tuple(frames))
    assert all(len(clips) == 1 for clips in numbers.values())
    assert len(numbers) == len(set.union(*numbers.values()))


def test_the_shorter_video_limits_speed_and_shift():
    speeds = set()
    for epoch in range(200):
        long, short = plan(sampler(), [500, 61], epoch)
        speeds |= set(long.labels["speed"].tolist())
        assert abs(relation(short)[-1]) <= 45
    assert speeds == {0, 1, 2}


def test_the_last_video_of_an_odd_batch_is_a_couple_of_its_own():
    plans = plan(sampler(), [100] * 5)
    assert [int(p.labels["couple"]) for p in plans] == [0, 0, 1, 1, 2]


def test_spatial_couples_share_their_boxes_and_show_the_same_frames_twice():
    built = sampler(equivariance="spatial")
    one, other = plan(built, [300, 300])
    assert one.geometry == other.geometry == Draw(0, 0, 0)
    for made in (one, other):
        assert made.views[0].frames.tolist() == made.views[1].frames.tolist()
        assert made.labels["order"] == OVERLAP
    assert one.views[0].frames.tolist() != other.views[0].frames.tolist()
    assert {v.crop for v in one.views} == {v.flip for v in one.views} == {None}
    assert plan(sampler(), [300, 300])[1].geometry is None
    assert plan(sampler(equivariance="both"), [300, 300])[1].geometry == Draw(0, 0, 0)


def test_without_equivariance_there_are_no_couples():
    built = sampler(equivariance="none")
    assert built.together == 1
    one, other = plan(built, [300, 300])
    assert relation(one) != relation(other)
    assert "couple" not in one.labels


def test_short_videos():
    assert sampler().rejects(Video(path="v", frames=16)) is None
    assert sampler().rejects(Video(path="v", frames=15)) == "15 frames; needs at least 16"
    assert sampler(short_video="skip").rejects(Video(path="v", frames=120)).endswith("121")
    seen = set()
    for epoch in range(60):
        (made,) = plan(sampler(short_video="loop"), [20], epoch)
        seen |= set(made.labels["speed"].tolist())
        assert all(0 <= view.frames.min() <= view.frames.max() < 20 for view in made.views)
    assert seen == {0, 1, 2, 3}


def test_couples_are_never_torn_apart(toy_recipe):
    videos = [Video(path="v", frames=100)] * 6
    order = Order(videos, sampler(), seed=0, batch_videos=6)
    pipeline = Pipeline(Input(), Augment())
    Loader(order, pipeline)
    with pytest.raises(
        UsageError, match="each of 2 processes gets 3; the sampler plans 2 together"
    ):
        Loader(order, pipeline, processes=2)
    recipe = toy_recipe() | {
        "sampler": {"name": "time_equivariant"},
        "pretext": {"name": "equivariance"},
    }
    PretrainRecipe.model_validate(recipe)
    with pytest.raises(ValidationError, match=r"batch_videos 4 in 4 parts would split"):
        PretrainRecipe.model_validate(recipe | {"train": recipe["train"] | {"accumulate": 4}})
    alone = {"name": "time_equivariant", "equivariance": "none"}
    with pytest.raises(ValidationError, match="equivariance needs the label couple, relation"):
        PretrainRecipe.model_validate(recipe | {"sampler": alone})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"speeds": [1, 1]}, "not all different"),
        ({"speeds": []}, "at least 1 item"),
        ({"coupling": 1}, "greater than or equal to 2"),
        ({"backward": 1.5}, "less than or equal to 1"),
    ],
)
def test_refuses(options, complaint):
    with pytest.raises(ValidationError, match=complaint):
        TimeEquivariant(name="time_equivariant", **options)


# The losses. A head of one linear layer that copies its first half passes vectors through.
PSI = torch.tensor([[1, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0, 0.6, 0.8]])


def equivariance(rows, couples, relations=None, **options):
    size = rows.shape[1]
    context = PretextContext(size, {"feat": size}, {"couple": 0, "relation": 0}, 2, len(rows))
    pretext = Equivariance(name="equivariance", hidden=[], **options).build(context)
    with torch.no_grad():
        pretext.head[0].weight.copy_(torch.cat([torch.eye(size), torch.zeros(size, size)], dim=1))
        pretext.head[0].bias.zero_()
    couple = torch.tensor(couples)
    labels = {"couple": couple, "relation": couple if relations is None else relations}
    batch = Batch(torch.empty(0), labels, torch.arange(len(rows)), torch.empty(0))
    terms, metrics = pretext({"feat": torch.stack([rows, torch.ones_like(rows)], 1)}, batch)
    return terms["loss"], metrics["accuracy"]


@pytest.mark.parametrize(("temperature", "expected"), [(0.1, 0.230462), (0.5, 0.639934)])
def test_equivariance_loss(temperature, expected):
    loss, accuracy = equivariance(PSI, [0, 0, 1, 1], temperature=temperature)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    # The third is as near to the second as to the fourth.
    assert accuracy.item() in (0.75, 1)


def test_equal_vectors_cost_the_logarithm_of_the_candidates():
    loss, _ = equivariance(torch.ones(4, 3), [0, 0, 1, 1])
    assert loss.item() == pytest.approx(np.log(3), abs=1e-6)


@pytest.mark.parametrize("coupling", [2, 3, 4, 6])
def test_larger_couples_do_not_multiply_the_loss(coupling):
    """Equation 1: a pair competes with other relations, and is one of several of its anchor."""
    couples = [number // coupling for number in range(12)]
    loss, _ = equivariance(torch.ones(12, 3), couples)
    assert loss.item() == pytest.approx(np.log(1 + 12 - coupling), abs=1e-6)
    apart, _ = equivariance(torch.eye(12 // coupling)[couples], couples, temperature=0.02)
    assert apart.item() == pytest.approx(0, abs=1e-6)


def test_equivariance_loss_of_three_videos_with_one_relation():
    """The values of equation 1, pair by pair."""
    rows = torch.cat([PSI, torch.tensor([[0, 0, 1.0], [0.6, 0, 0.8]])])
    couples = [0, 0, 0, 1, 1, 1]
    scores = np.exp((rows @ rows.T).numpy() / 0.5)
    expected = []
    for anchor, couple in enumerate(couples):
        against = sum(
            s for s, other in zip(scores[anchor], couples, strict=True) if other != couple
        )
        partners = [n for n, other in enumerate(couples) if other == couple and n != anchor]
        expected.append(np.mean([np.log(1 + against / scores[anchor, n]) for n in partners]))
    loss, _ = equivariance(rows, couples, temperature=0.5)
    assert loss.item() == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_order_of_a_batch_does_not_change_the_loss():
    turned = torch.tensor([2, 0, 3, 1])
    loss, _ = equivariance(PSI[turned], [1, 0, 1, 0])
    assert loss.item() == pytest.approx(0.230462, abs=1e-6)


@pytest.mark.parametrize(
    ("anchor", "expected"), [(0, 0.000671), (1, 0.137684), (2, 0.694386), (3, 0.089106)]
)
def test_one_anchor(anchor, expected):
    psi = PSI.clone().requires_grad_()
    only = torch.arange(4)[:, None] == anchor
    couple = torch.tensor([0, 0, 1, 1])
    together = couple[:, None] == couple
    positives = together & ~torch.eye(4, dtype=torch.bool) & only
    scores = similarity(psi, psi.detach(), normalise=True)
    loss = 4 * contrast(scores, positives, ~together & only, temperature=0.1)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert [bool(row.any()) for row in psi.grad] == [row == anchor for row in range(4)]


def test_equal_relations_are_left_out_of_the_denominator():
    relations = torch.tensor([7, 7, 7, 7])
    masked, _ = equivariance(PSI, [0, 0, 1, 1], relations)
    assert masked.item() == pytest.approx(0, abs=1e-6)
    against, _ = equivariance(PSI, [0, 0, 1, 1], relations, mask_equal_relations=False)
    assert against.item() == pytest.approx(0.230462, abs=1e-6)


def test_a_video_alone_is_no_anchor():
    rows = torch.cat([PSI, torch.ones(1, 3)])
    loss, _ = equivariance(rows, [0, 0, 1, 1, 2])
    assert loss.isfinite()
    alone, _ = equivariance(PSI[:1], [0])
    assert alone.item() == 0


@pytest.mark.parametrize(("stop", "flows"), [(True, False), (False, True)])
def test_stop_gradient_reaches_the_pretext(stop, flows):
    """With one couple and one single video the single one is candidate only."""
    rows = torch.cat([PSI[:2], PSI[3:]]).clone().requires_grad_()
    loss, _ = equivariance(rows, [0, 0, 1], stop_gradient=stop)
    loss.backward()
    assert bool(rows.grad[2].any()) is flows
    assert rows.grad[0].any()


@pytest.mark.parametrize(("temperature", "expected"), [(0.1, 1.064850), (0.5, 0.668040)])
def test_instance_loss(temperature, expected):
    options = {"normalise": True, "denominator": "anchor", "stop_gradient": True}
    pretext = SameContext(name="same_context", temperature=temperature, **options).build(
        PretextContext(2, {"feat": 2}, {}, 2, 2)
    )
    phi = torch.tensor([[[1, 0], [0.6, 0.8]], [[0, 1], [-0.8, 0.6]]])
    batch = Batch(torch.empty(2, 2, 0), {}, torch.arange(2), torch.empty(0))
    terms, _ = pretext({"feat": phi}, batch)
    assert terms["loss"].item() == pytest.approx(expected, abs=1e-6)


def test_distinctive_contrast_has_the_other_clips_of_a_video_for_negatives():
    """Figure 5's baseline: a clip goes with its second view alone."""
    options = SameContext(
        name="same_context", group="clip", normalise=True, temperature=0.5, denominator="anchor"
    )
    assert options.required() == {"clip"}
    assert SameContext(name="same_context").required() == set()
    torch.manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(2, 4, 3), dim=2)
    labels = {"clip": torch.tensor([[7, 9, 7, 9], [7, 7, 7, 7]])}
    batch = Batch(torch.empty(2, 4, 3), labels, torch.tensor([0, 5]), torch.empty(0))
    context = PretextContext(3, {"feat": 3}, {"clip": 0}, 4, 2)
    terms, _ = options.build(context)({"feat": rows}, batch)
    groups = ["0, 7", "0, 9", "0, 7", "0, 9"] + 4 * ["5, 7"]
    flat = rows.flatten(0, 1)
    s = np.exp((flat @ flat.T).numpy() / 0.5)
    pairs = [(i, j) for i in range(8) for j in range(8) if i != j and groups[i] == groups[j]]
    expected = sum(np.log((s[i].sum() - s[i, i]) / s[i, j]) for i, j in pairs) / 8
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-5)


def test_distinctive_contrast_needs_clips_that_are_planned_twice(toy_recipe):
    recipe = toy_recipe() | {"pretext": {"name": "same_context", "group": "clip"}}
    single = {"name": "time_equivariant"}
    with pytest.raises(ValidationError, match="same_context needs the label clip"):
        PretrainRecipe.model_validate(recipe | {"sampler": single})
    PretrainRecipe.model_validate(recipe | {"sampler": single | {"copies": 2}})
